#!lua flags=allow-oom
-- Makes a node known in a partition, under a number that was never used
-- before, and ends what it was known as until then.
--
-- KEYS: leases, stream, old stream, counts, presence, broadcast log,
-- scan.
-- ARGV: number, lease in ms, old number or "".
-- Returns {server's run id, last broadcast's id, its number, numbers of living
-- nodes}.
redis.call('ZADD', KEYS[1], now('') + ARGV[2], ARGV[1])
redis.call('XADD', KEYS[2], '*', 'hello', '')
redis.call('PEXPIRE', KEYS[2], 10 * ARGV[2])
redis.call('HSET', KEYS[5], probed(ARGV[1]), ARGV[1] .. '=1')
if ARGV[3] ~= '' then
  redis.call('ZREM', KEYS[1], ARGV[3])
  forget_counts(KEYS[4], ARGV[3])
  redis.call('HDEL', KEYS[5], probed(ARGV[3]))
  redis.call('DEL', KEYS[3])
  redis.call('SET', KEYS[7], 0)
end
local id, bn = top(KEYS[6])
return {string.match(redis.call('INFO', 'server'), 'run_id:(%x+)'), id, bn, redis.call('ZRANGE', KEYS[1], 0, -1)}
