-- The broadcast log, and what is kept beside it. The number in an entry's
-- position counts broadcasts without gaps.

-- last_hidden returns the id of the last broadcast in the log that retention
-- hides, 0 if it hides none. Asked backwards for what lies before its first entry,
-- Redis walks the whole stream: so that is never asked.
local function last_hidden(oldest_id, oldest_number, last_number)
  local hidden, over = 0, last_number - keep_broadcasts - oldest_number + 1
  if over > 0 then
    local gone = redis.call('XRANGE', LOG, '-', '+', 'COUNT', over)
    hidden = position(gone[#gone])
  end
  local cutoff = first_id(time - broadcast_age)
  if oldest_id < cutoff then
    hidden = math.max(hidden, (position(redis.call('XREVRANGE', LOG, str(cutoff - 1), '-', 'COUNT', 1)[1])))
  end
  return hidden
end

-- append_broadcast puts a broadcast into the log and drops what retention hides,
-- except for one entry: it tells that something was dropped, and where the log
-- ended when all of it is too old. The newest broadcast with the same collapse key
-- counts as expired from now on.
local function append_broadcast(id, number, prev, expires)
  redis.call('XADD', LOG, str(id) .. '-' .. number, message_fields('m', head(BROADCAST, prev, expires), data, exclude, collapse))
  redis.call('XTRIM', LOG, 'MAXLEN', keep_broadcasts + 1)
  local oldest_id, oldest_number = oldest(LOG)
  local hidden = last_hidden(oldest_id, oldest_number, number)
  if hidden > oldest_id then redis.call('XTRIM', LOG, 'MINID', str(hidden)) end
  if expires > 0 then redis.call('ZADD', EXPIRIES, expires, str(id)) end
  if collapse == '' then return end
  redis.call('ZREMRANGEBYSCORE', LOG_COLLAPSE, '-inf', '(' .. str(math.max(oldest_id, hidden)))
  local replaced = redis.call('ZSCORE', LOG_COLLAPSE, collapse)
  if replaced then
    replaced = str(tonumber(replaced))
    redis.call('ZREM', EXPIRIES, replaced)
    redis.call('ZADD', EXPIRED, replaced, replaced)
  end
  redis.call('ZADD', LOG_COLLAPSE, str(id), collapse)
end

-- forget_dropped takes out of a HASH the broadcasts that the log has dropped, once
-- there are SPARE_COUNTS more than the log has entries.
local function forget_dropped(hash)
  if redis.call('HLEN', hash) <= redis.call('XLEN', LOG) + SPARE_COUNTS then return end
  local first = oldest(LOG) or math.huge
  for _, id in ipairs(redis.call('HKEYS', hash)) do
    if tonumber(id) < first then redis.call('HDEL', hash, id) end
  end
end
