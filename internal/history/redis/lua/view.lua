#!lua
-- One user's history at this moment, for page.lua, attach.lua and ack.lua.

local length = redis.call('LLEN', INBOX)
local function id_at(index) return id_of(redis.call('LINDEX', INBOX, index)) end

local inbox_head = length > 0 and id_at(-1) or 0
local log_head, last_number = newest(LOG)

-- first_shown is the index of the first entry that retention shows, hidden the id
-- of the last entry that it hides.
local first_shown, hidden = math.max(0, length - keep), 0
do
  local cutoff = first_id(time - inbox_age)
  if first_shown < length and id_at(first_shown) < cutoff then
    first_shown = search(INBOX, cutoff, first_shown, length)
  end
  if first_shown > 0 then hidden = id_at(first_shown - 1) end
end

-- The same of the broadcast log, and the position of its first entry.
local log_hidden = 0
local log_first, first_number = oldest(LOG)
if log_first then
  log_hidden = last_hidden(log_first, first_number, last_number)
else
  log_first, first_number = 0, 1
end

-- The read mark, never past the heads, and the id of the last entry with a TTL.
local mark, log_mark, last_ttl = unpack(redis.call('HMGET', META, 'i', 'b', 't'))
mark, log_mark = math.min(mark or 0, inbox_head), math.min(log_mark or 0, log_head)
last_ttl = tonumber(last_ttl or 0)

-- clamp takes a cursor's id back to the head, as after a failover that lost a tail;
-- it returns false if the id is further ahead of the clock than MAX_AHEAD.
local function clamp(id, head)
  if id <= head then return id end
  if id > first_id(time + MAX_AHEAD) then return false end
  return head
end

-- unread counts what is shown after the read mark: by positions, less what has
-- expired or was recalled. Recalled broadcasts are among the expired.
local function unread()
  local count = 0
  local after = math.max(mark, hidden)
  if after < inbox_head then
    local from = math.max(first_shown, search(INBOX, after + 1, first_shown, length))
    count = length - from
    if last_ttl > after or redis.call('ZCOUNT', RECALLED, after + 1, inbox_head) > 0 then
      for i = from, length - 1, UNREAD_BATCH do
        for _, entry in ipairs(redis.call('LRANGE', INBOX, i, math.min(i + UNREAD_BATCH, length) - 1)) do
          if not shown(read_head(entry)) then count = count - 1 end
        end
      end
    end
  end
  after = math.max(log_mark, log_hidden)
  if after < log_head then
    local before = first_number - 1
    if after >= log_first then
      local _, number = position(redis.call('XREVRANGE', LOG, str(after), '-', 'COUNT', 1)[1])
      before = number
    end
    count = count + last_number - before - redis.call('ZCOUNT', EXPIRED, after + 1, '+inf')
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', EXPIRIES, '-inf', time)) do
      if tonumber(id) > after then count = count - 1 end
    end
  end
  return count
end
