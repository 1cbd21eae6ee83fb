-- Events: what happened to users. An event is an entry of a stream at
-- "time-number": numbers have no gaps, so a reader sees when events are missing.
-- Its text is 1 byte kind, 6 bytes time, 7 bytes each of two ids, and the user.

-- watched says whether events of a kind are recorded: WATCH has "since until" for
-- each kind that a reader asked for. UNACKED is not among them: readers record it
-- themselves.
local function watched(kind)
  local period = redis.call('HGET', WATCH, kind)
  return period and time < tonumber(string.match(period, '%d+$'))
end

-- The position of the last event and how many are kept, once record was called.
local last_event_time
local last_event_number
local events_limit

-- record adds an event that happened at a time.
local function record(kind, at, user, a, b)
  if not last_event_number then
    last_event_time, last_event_number = newest(EVENTS)
    events_limit = redis.call('HGET', WATCH, 'keep') or EVENTS_KEPT
  end
  last_event_time, last_event_number = math.max(time, last_event_time), last_event_number + 1
  redis.call('XADD', EVENTS, 'MAXLEN', '~', events_limit, str(last_event_time) .. '-' .. str(last_event_number), 'e',
    struct.pack('>BI6I7I7', kind, at, a, b) .. user)
end

-- record_disconnected records some of the users whose LINGER has passed without a
-- new connection, and returns how many it looked at.
local function record_disconnected(most)
  local due = redis.call('ZRANGEBYSCORE', LINGERING, '-inf', time, 'WITHSCORES', 'LIMIT', 0, most)
  for j = 1, #due, 2 do
    redis.call('ZREM', LINGERING, due[j])
    if redis.call('HEXISTS', PRESENCE, due[j]) == 0 then record(DISCONNECTED, tonumber(due[j + 1]), due[j], 0, 0) end
  end
  return #due / 2
end

-- connected is called when a user has the first connection. A user who comes back
-- within LINGER was never disconnected.
local function connected(user)
  if not watched(CONNECTED) then return end
  local due = redis.call('ZSCORE', LINGERING, user)
  if due then
    redis.call('ZREM', LINGERING, user)
    if tonumber(due) > time then return end
    record(DISCONNECTED, tonumber(due), user, 0, 0)
  end
  record(CONNECTED, time, user, 0, 0)
end

-- disconnected is called when a user's last connection has gone.
local function disconnected(user)
  if watched(DISCONNECTED) then
    record_disconnected(LINGERING_AT_ONCE)
    redis.call('ZADD', LINGERING, time + LINGER, user)
  end
end
