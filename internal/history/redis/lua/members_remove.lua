#!lua flags=allow-oom
-- Takes users of a partition out of a group.
--
-- KEYS: members of the group, then of each user its groups.
-- ARGV: group, then the users. Returns how many were in it.
local removed = 0
for j = 2, #ARGV do
  removed = removed + redis.call('ZREM', KEYS[1], ARGV[j])
  redis.call('ZREM', KEYS[j], ARGV[1])
end
return removed
