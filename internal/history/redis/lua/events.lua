#!lua
-- What happened to users, for those who watch. An event is an entry of a
-- stream, "time-number": numbers have no gaps, so that a reader sees whether
-- there is one. Its text is 1 byte kind, 6 bytes time, 7 bytes each of two ids,
-- and the user.
local CONNECTED, DISCONNECTED, ACKED, DELIVERED, UNACKED = 1, 2, 4, 8, 16
local LINGER = 3000 -- ms that somebody must be gone to be disconnected

-- watched says whether events of a kind are recorded: the HASH has "since until"
-- for each kind that somebody asked for. UNACKED is not among them: it is recorded
-- when somebody finds it out.
local function watched(watch, kind, time)
  local w = redis.call('HGET', watch, kind)
  return w and time < tonumber(string.match(w, '%d+$'))
end

-- record adds an event. at is when it happened, time is now.
local function record(stream, watch, time, kind, at, user, a, b)
  local was, n = top(stream)
  redis.call('XADD', stream, 'MAXLEN', '~', redis.call('HGET', watch, 'keep') or 65536,
    str(math.max(time, was)) .. '-' .. str(n + 1), 'e', struct.pack('>BI6I7I7', kind, at, a, b) .. user)
end

-- settle records some of those who have been gone for long enough.
local function settle(stream, watch, leaving, presence, time, most)
  local due = redis.call('ZRANGEBYSCORE', leaving, '-inf', time, 'WITHSCORES', 'LIMIT', 0, most)
  for j = 1, #due, 2 do
    redis.call('ZREM', leaving, due[j])
    if redis.call('HEXISTS', presence, due[j]) == 0 then
      record(stream, watch, time, DISCONNECTED, tonumber(due[j + 1]), due[j], 0, 0)
    end
  end
  return #due / 2
end
