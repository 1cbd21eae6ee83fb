#!lua flags=allow-oom
-- Undoes join.lua.
forget_node(node)
call('DEL', STREAM)
return DONE
