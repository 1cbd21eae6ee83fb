#!lua flags=allow-oom
-- Sets how many connections a node holds of some users. The numbers are absolute,
-- so doing it again changes nothing.
for j, user in ipairs(users) do register(node, user, tonumber(counts[j])) end
return DONE
