#!lua flags=allow-oom
-- Renews a node's lease in a partition, and does what is due from time to time:
-- deletes what the node has read, removes dead nodes, clears some users' presence
-- of them, and moves broadcasts whose TTL has ended to the expired ones.
--
-- Returns {1, server's run id, entries ever taken off the stream, id of the last
-- broadcast, numbers of living nodes, 1 if there is more to clear away}, or {0} if
-- the lease has ended.
local leased_at = server_time()
if tonumber(redis.call('ZSCORE', LEASES, node) or 0) <= leased_at or redis.call('EXISTS', STREAM) == 0 then return {0} end
redis.call('ZADD', LEASES, leased_at + lease, node)
for _, dead in ipairs(redis.call('ZRANGEBYSCORE', LEASES, '-inf', leased_at)) do forget_node(dead) end

local cursor = redis.call('GET', SCAN)
if cursor then
  cursor = clear_presence(cursor)
  if cursor == '0' then
    redis.call('DEL', SCAN)
    cursor = false
  else
    redis.call('SET', SCAN, cursor)
  end
end

redis.call('XTRIM', STREAM, 'MINID', '~', read)
redis.call('PEXPIRE', STREAM, LEASES_TO_KEEP * lease)
local added, length = 0, 0
local info = redis.call('XINFO', 'STREAM', STREAM)
for i = 1, #info, 2 do
  if info[i] == 'entries-added' then added = info[i + 1] elseif info[i] == 'length' then length = info[i + 1] end
end

for _, id in ipairs(redis.call('ZRANGEBYSCORE', EXPIRIES, '-inf', time, 'LIMIT', 0, EXPIRY_BATCH)) do
  redis.call('ZREM', EXPIRIES, id)
  redis.call('ZADD', EXPIRED, id, id)
end
local first = oldest(LOG)
if first then redis.call('ZREMRANGEBYSCORE', EXPIRED, '-inf', '(' .. str(first)) end

return {1, string.match(redis.call('INFO', 'server'), 'run_id:(%x+)'), added - length, (newest(LOG)),
  redis.call('ZRANGE', LEASES, 0, -1), cursor and 1 or 0}
