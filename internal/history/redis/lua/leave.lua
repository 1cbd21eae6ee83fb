#!lua flags=allow-oom
-- Undoes join.lua.
--
-- KEYS: leases, stream, counts, presence, scan. ARGV: number.
redis.call('ZREM', KEYS[1], ARGV[1])
forget_counts(KEYS[3], ARGV[1])
redis.call('HDEL', KEYS[4], probed(ARGV[1]))
redis.call('DEL', KEYS[2])
redis.call('SET', KEYS[5], 0)
return 1
