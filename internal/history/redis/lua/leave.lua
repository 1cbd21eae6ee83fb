#!lua flags=allow-oom
-- Undoes join.lua.
forget_node(node)
redis.call('DEL', STREAM)
return DONE
