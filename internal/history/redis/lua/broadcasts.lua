#!lua
-- What broadcast.lua and relay.lua share.

-- append_broadcast puts a broadcast into a log and drops what retention hides,
-- but for one: it tells that something was dropped, and where the log ended
-- when all of it is too old.
--
-- The newest broadcast with the same collapse key is counted among the expired.
local function append_broadcast(log, ends, expired, topics, id, bn, prev, expires, data, exclude, collapse, keep, cutoff)
  redis.call('XADD', log, str(id) .. '-' .. bn, fields('m', head(BROADCAST, prev, expires), data, exclude, collapse))
  redis.call('XTRIM', log, 'MAXLEN', keep + 1)
  local oldest = redis.call('XRANGE', log, '-', '+', 'COUNT', 1)
  -- Asked for what lies before its first entry, Redis walks the whole stream.
  if place(oldest[1]) < cutoff then
    redis.call('XTRIM', log, 'MINID', redis.call('XREVRANGE', log, str(cutoff - 1), '-', 'COUNT', 1)[1][1])
  end
  if expires > 0 then redis.call('ZADD', ends, expires, str(id)) end
  if collapse == '' then return end
  local oldest = place(redis.call('XRANGE', log, '-', '+', 'COUNT', 1)[1])
  redis.call('ZREMRANGEBYSCORE', topics, '-inf', '(' .. str(oldest))
  local was = redis.call('ZSCORE', topics, collapse)
  if was then
    was = str(tonumber(was))
    redis.call('ZREM', ends, was)
    redis.call('ZADD', expired, was, was)
  end
  redis.call('ZADD', topics, str(id), collapse)
end
