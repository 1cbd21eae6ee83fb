#!lua
-- One user's history at this moment, for page.lua, attach.lua and ack.lua.
--
-- KEYS[1..8]: inbox, meta, broadcast log, bodies, ends of TTLs of broadcasts,
-- broadcasts that have expired or were replaced, multicasts and broadcasts that
-- were recalled.
-- ARGV[1..5]: clock, entries that an inbox shows, their age in ms, broadcasts
-- that are shown, their age in ms.
local INBOX, META, LOG, BODIES, ENDS, EXPIRED = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local RECALLED, RECALLED_LOG = KEYS[7], KEYS[8]
local time = now(ARGV[1])

local len = redis.call('LLEN', INBOX)
local function id_at(i)
  return (struct.unpack('>I7', redis.call('LINDEX', INBOX, i), 2))
end

-- search returns the index of the first entry from lo on with at least this id.
local function search(lo, id)
  local hi = len
  while lo < hi do
    local mid = math.floor((lo + hi) / 2)
    if id_at(mid) < id then lo = mid + 1 else hi = mid end
  end
  return lo
end

local inbox_head = len > 0 and id_at(-1) or 0
local log_head, log_bn = top(LOG)

-- shown is the index of the first entry that retention shows, hidden the id of
-- the last that it hides.
local shown, hidden = math.max(0, len - tonumber(ARGV[2])), 0
do
  local cutoff = first(time - tonumber(ARGV[3]))
  if shown < len and id_at(shown) < cutoff then shown = search(shown, cutoff) end
  if shown > 0 then hidden = id_at(shown - 1) end
end

-- log_hidden is the same of the broadcast log, log_oldest the number of the
-- first one kept and log_first its id. Asked backwards for what lies before its
-- first entry, Redis walks the whole stream: it is never asked.
local log_hidden, log_oldest, log_first = 0, 1, 0
do
  local oldest = redis.call('XRANGE', LOG, '-', '+', 'COUNT', 1)
  if oldest[1] then
    local first_id, bn = place(oldest[1])
    log_first, log_oldest = first_id, bn
    local over = log_bn - tonumber(ARGV[4]) - bn + 1
    if over > 0 then
      local gone = redis.call('XRANGE', LOG, '-', '+', 'COUNT', over)
      log_hidden = place(gone[#gone])
    end
    local cutoff = first(time - tonumber(ARGV[5]))
    if log_first < cutoff then
      local old = redis.call('XREVRANGE', LOG, str(cutoff - 1), '-', 'COUNT', 1)
      log_hidden = math.max(log_hidden, (place(old[1])))
    end
  end
end

-- The read mark, never past the heads, and where the last entry with a TTL is.
local mark, log_mark, last_ttl = 0, 0, 0
do
  local meta = redis.call('HMGET', META, 'i', 'b', 't')
  mark = math.min(tonumber(meta[1] or 0), inbox_head)
  log_mark = math.min(tonumber(meta[2] or 0), log_head)
  last_ttl = tonumber(meta[3] or 0)
end

-- clamp takes a cursor's id back to the head; false if no head explains it.
local function clamp(id, head)
  if id <= head then return id end
  if id > first(time + 60000) then return false end
  return head
end

local function expired(e)
  local flags, _, ends = struct.unpack('>BI7I6', e)
  return has(flags, TTL) and ends <= time
end

-- recalled says whether an id is in one of the sets of recalled messages.
local some = {}
local function recalled(set, id)
  if some[set] == nil then some[set] = redis.call('EXISTS', set) == 1 end
  return some[set] and redis.call('ZSCORE', set, str(id)) ~= false
end

-- gone says whether an entry of the inbox has expired or was recalled.
local function gone(e)
  local flags, id = struct.unpack('>BI7', e)
  if has(flags, TTL) and struct.unpack('>I6', e, 9) <= time then return true end
  return has(flags, MULTICAST) and recalled(RECALLED, id)
end

-- unread counts what is shown after the read mark: by positions, less what has
-- expired or was recalled. Recalled broadcasts are among the expired.
local function unread()
  local n = 0
  local after = math.max(mark, hidden)
  if after < inbox_head then
    local from = math.max(shown, search(shown, after + 1))
    n = len - from
    if last_ttl > after or redis.call('ZCOUNT', RECALLED, after + 1, inbox_head) > 0 then
      for i = from, len - 1, 64 do
        for _, e in ipairs(redis.call('LRANGE', INBOX, i, math.min(i + 63, len - 1))) do
          if gone(e) then n = n - 1 end
        end
      end
    end
  end
  after = math.max(log_mark, log_hidden)
  if after < log_head then
    local before = log_oldest - 1
    if after >= log_first then
      local _, bn = place(redis.call('XREVRANGE', LOG, str(after), '-', 'COUNT', 1)[1])
      before = bn
    end
    n = n + log_bn - before - redis.call('ZCOUNT', EXPIRED, after + 1, '+inf')
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', ENDS, '-inf', time)) do
      if tonumber(id) > after then n = n - 1 end
    end
  end
  return n
end
