#!lua
-- Takes a broadcast back in one partition, and tells nodes. Its entry stays,
-- since entries are numbered; it counts as one that has expired.
--
-- KEYS: broadcast log, recalled, ends of TTLs, expired, leases, streams.
-- ARGV: id, then a node for each stream.
-- Returns 1, 2 if a node lives whose stream is not among KEYS, and 3 if this
-- copy of the log does not reach so far yet; then nothing was done.
local id = ARGV[1]
if top(KEYS[1]) < tonumber(id) then return 3 end
local streams = {}
for j = 2, #ARGV do streams[ARGV[j]] = KEYS[4 + j] end
local live = ARGV[2] and redis.call('ZRANGEBYSCORE', KEYS[5], '(' .. now(''), '+inf') or {}
for _, node in ipairs(live) do
  if not streams[node] then return 2 end
end

redis.call('ZADD', KEYS[2], id, id)
redis.call('ZREM', KEYS[3], id)
redis.call('ZADD', KEYS[4], id, id)
local oldest = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', '(' .. str((place(oldest[1]))))
for _, node in ipairs(live) do
  redis.call('XADD', streams[node], '*', 'e', head(BROADCAST + RECALL, tonumber(id), 0), 'd', '')
end
return 1
