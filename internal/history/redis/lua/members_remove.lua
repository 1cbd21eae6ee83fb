#!lua flags=allow-oom
-- Removes users of a partition from a group. Returns how many were in it.
local removed = 0
for j, user in ipairs(users) do
  removed = removed + redis.call('ZREM', MEMBERS, user)
  redis.call('ZREM', GROUPS[j], group)
end
return removed
