#!lua flags=allow-oom
-- Reads events, and has those of the kinds asked for recorded for a while. Who has
-- read all there is learns what is due, to go on with unacked.lua.
--
-- KEYS: events, watch, leaving, presence, due, notes.
-- ARGV: clock, position (time when it was read, time of the last event, its
-- number; all -1 for none), limit, events to keep, ms to go on recording, how many
-- notes that are due to return, then the kinds.
-- Returns {1 if something is missing before what is returned, now, time of the
-- last event, its number, {events}, {due}}; due are {since when, place of the note,
-- users as noted, id that these have the message under, the message's id}, ….
local EVENTS, WATCH = KEYS[1], KEYS[2]
local time = now(ARGV[1])
local read, at, number = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local most = tonumber(ARGV[8])

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

-- due returns some notes, the oldest first: at least one, and no more than make a
-- reply of some size.
local function due(most)
  local out, size = {}, 0
  local places = redis.call('ZRANGEBYSCORE', KEYS[5], '-inf', time, 'WITHSCORES', 'LIMIT', 0, most)
  for j = 1, #places, 2 do
    local note = redis.call('XRANGE', KEYS[6], places[j], places[j])[1]
    if note then
      local f = read_fields(note)
      local at = string.match(places[j], '^%d+')
      out[#out + 1] = {tonumber(places[j + 1]), places[j], f.u, f.a and at or f.o or at, f.o or at}
      size = size + #f.u
      if size > 65536 then break end
    else
      redis.call('ZREM', KEYS[5], places[j]) -- as old as that
    end
  end
  return out
end

local last, n = top(EVENTS)
if read < 0 then return {0, time, last, n, {}, {}} end
local found = redis.call('XRANGE', EVENTS, '(' .. str(at) .. '-' .. str(number), '+', 'COUNT', ARGV[5])
local lost, out = read < since, {}
if found[1] then
  local _, after = place(found[1])
  lost = lost or after ~= number + 1
  for j, e in ipairs(found) do out[j] = e[2][2] end
  last, n = place(found[#found])
else
  lost = lost or last ~= at or n ~= number
end
return {lost and 1 or 0, time, last, n, out, not found[1] and most > 0 and due(most) or {}}
