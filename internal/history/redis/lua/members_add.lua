#!lua
-- Puts users of a partition into a group.
--
-- KEYS: members of the group, then of each user its groups.
-- ARGV: group, then the users. Returns how many were not in it.
local added = 0
for j = 2, #ARGV do
  added = added + redis.call('ZADD', KEYS[1], 0, ARGV[j])
  redis.call('ZADD', KEYS[j], 0, ARGV[1])
end
return added
