#!lua
-- What broadcast.lua and relay.lua share.

-- append_broadcast puts a broadcast into a log and drops what retention hides,
-- but for one: it tells that something was dropped, and where the log ended
-- when all of it is too old.
local function append_broadcast(log, ends, id, bn, prev, expires, data, exclude, keep, cutoff)
  redis.call('XADD', log, str(id) .. '-' .. bn, fields('m', head(BROADCAST, prev, expires), data, exclude))
  redis.call('XTRIM', log, 'MAXLEN', keep + 1)
  local oldest = redis.call('XRANGE', log, '-', '+', 'COUNT', 1)
  -- Asked for what lies before its first entry, Redis walks the whole stream.
  if place(oldest[1]) < cutoff then
    redis.call('XTRIM', log, 'MINID', redis.call('XREVRANGE', log, str(cutoff - 1), '-', 'COUNT', 1)[1][1])
  end
  if expires > 0 then redis.call('ZADD', ends, expires, str(id)) end
end
