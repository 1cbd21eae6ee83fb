#!lua flags=allow-oom
-- Renews a node's lease in a partition, and does what has to be done now and
-- then: lets go of what the node has read, of dead nodes and some of those who
-- were connected there, and counts expired broadcasts among the expired.
--
-- KEYS: leases, stream, counts, broadcast log, ends of TTLs, expired, presence,
-- scan, then those of presence.lua.
-- ARGV: clock, number, lease in ms, id up to which the stream was read.
-- Returns {1, server's run id, entries ever taken off the stream, last
-- broadcast's id, its number, numbers of living nodes, 1 if there are more to
-- clear away, 1 if somebody watches what is delivered}, or {0} if the lease has ended.
local time = now('')
if tonumber(redis.call('ZSCORE', KEYS[1], ARGV[2]) or 0) <= time then return {0} end
redis.call('ZADD', KEYS[1], time + ARGV[3], ARGV[2])
for _, dead in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', time)) do
  redis.call('ZREM', KEYS[1], dead)
  forget_counts(KEYS[3], dead)
  redis.call('HDEL', KEYS[7], probed(dead))
  redis.call('SET', KEYS[8], 0)
end
local cursor = redis.call('GET', KEYS[8])
if cursor then
  cursor = clear(9, now(ARGV[1]), cursor)
  if cursor == '0' then
    redis.call('DEL', KEYS[8])
    cursor = false
  else
    redis.call('SET', KEYS[8], cursor)
  end
end

redis.call('XTRIM', KEYS[2], 'MINID', '~', ARGV[4])
redis.call('PEXPIRE', KEYS[2], 10 * ARGV[3])
local added, length = 0, 0
if redis.call('EXISTS', KEYS[2]) == 1 then
  local info = redis.call('XINFO', 'STREAM', KEYS[2])
  for i = 1, #info, 2 do
    if info[i] == 'entries-added' then added = info[i + 1] elseif info[i] == 'length' then length = info[i + 1] end
  end
else
  return {0}
end

local oldest = redis.call('XRANGE', KEYS[4], '-', '+', 'COUNT', 1)
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[5], '-inf', now(ARGV[1]), 'LIMIT', 0, 1000)) do
  redis.call('ZREM', KEYS[5], id)
  redis.call('ZADD', KEYS[6], id, id)
end
if oldest[1] then
  local id = place(oldest[1])
  redis.call('ZREMRANGEBYSCORE', KEYS[6], '-inf', '(' .. str(id))
end

local id, bn = top(KEYS[4])
return {1, string.match(redis.call('INFO', 'server'), 'run_id:(%x+)'), added - length, id, bn,
  redis.call('ZRANGE', KEYS[1], 0, -1), cursor and 1 or 0,
  watched(KEYS[13], DELIVERED, now(ARGV[1])) and 1 or 0}
