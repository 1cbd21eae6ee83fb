#!lua flags=allow-oom
-- Reads events, and has those of the kinds asked for recorded for a while. Who
-- comes to the end of the log and has room left learns what is due, to go on with
-- unacked.lua.
--
-- KEYS: events, watch, leaving, presence, due, notes.
-- ARGV: clock, position (time when it was read, time of the last event, its
-- number; all -1 for none), limit, events to keep, ms to go on recording, 1 if it
-- is to return what is due, then the kinds.
-- Returns {1 if something is missing before what is returned, now, time of the
-- last event, its number, {events}, {due}}; due are {since when, place of the note,
-- users as noted, id that these have the message under, the message's id}, ….
local EVENTS, WATCH, DUE, NOTES = KEYS[1], KEYS[2], KEYS[5], KEYS[6]
local time = now(ARGV[1])
local read, at, number = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local limit = tonumber(ARGV[5])

-- Renewed for a tenth longer than asked, when that tenth is over: readers come
-- many times a second.
local since, renew = 0, tonumber(ARGV[7])
for j = 9, #ARGV do
  local began, ends = string.match(redis.call('HGET', WATCH, ARGV[j]) or '', '^(%d+) (%d+)$')
  began, ends = tonumber(began), tonumber(ends or 0)
  if time >= ends then began = time end
  since = math.max(since, began)
  if ends - time < renew then
    redis.call('HSET', WATCH, ARGV[j], str(began) .. ' ' .. str(time + renew * 1.1), 'keep', ARGV[6])
  end
end

-- The rest with the next read.
for _ = 1, 10 do
  if settle(EVENTS, WATCH, KEYS[3], KEYS[4], time, 100) < 100 then break end
end

-- look adds to out some notes that are due, the oldest first: at least one, and no
-- more than make a reply of some size. It takes out those whose notes are not kept
-- any more, or never were. It returns whether there may be others behind these.
local function look(out, most)
  local piece, size = math.max(most, 100), 0
  local places = redis.call('ZRANGEBYSCORE', DUE, '-inf', time, 'WITHSCORES', 'LIMIT', 0, piece)
  for j = 1, #places, 2 do
    local note = redis.pcall('XRANGE', NOTES, places[j], places[j])[1]
    if note then
      local f, at = read_fields(note), string.match(places[j], '^%d+')
      local users = f.u or ''
      out[#out + 1] = {tonumber(places[j + 1]), places[j], users, f.a and at or f.o or at, f.o or at}
      size = size + #users
      if #out == most or size > 65536 then break end
    else
      redis.call('ZREM', DUE, places[j])
    end
  end
  return #places == 2 * piece
end

-- due returns what look finds, if need be behind what is not kept any more.
local function due(most)
  local out = {}
  for _ = 1, 10 do
    if not look(out, most) or out[1] then break end
  end
  return out
end

local last, n = top(EVENTS)
if read < 0 then return {0, time, last, n, {}, {}} end
local found = redis.call('XRANGE', EVENTS, '(' .. str(at) .. '-' .. str(number), '+', 'COUNT', limit)
local lost, out = read < since, {}
if found[1] then
  local _, after = place(found[1])
  lost = lost or after ~= number + 1
  for j, e in ipairs(found) do out[j] = e[2][2] end
  last, n = place(found[#found])
else
  lost = lost or last ~= at or n ~= number
end
local room = limit - #found
return {lost and 1 or 0, time, last, n, out, ARGV[8] == '1' and room > 0 and due(room) or {}}
