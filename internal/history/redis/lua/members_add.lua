#!lua
-- Adds users of a partition to a group. Returns how many were not in it.
local added = 0
for j, user in ipairs(users) do
  added = added + redis.call('ZADD', MEMBERS, 0, user)
  redis.call('ZADD', GROUPS[j], 0, group)
end
return added
