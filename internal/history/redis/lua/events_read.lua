#!lua flags=allow-oom
-- Reads events, and has events of the kinds asked for recorded for a while. A
-- reader who comes to the end of the log with room left learns which lists of
-- recipients are due for the check of unacked.lua.
--
-- The position is when events were read last, and time and number of the last
-- event; all are -1 for none.
--
-- Returns {1 if events are missing before those returned, now, time of the last
-- event, its number, {events}, {due}}; due are {since when, where the list of
-- recipients is stored, the list, id under which these have the message, the
-- message's id}, ….

-- A kind is renewed for longer than asked, and not before that excess has passed:
-- readers come many times a second.
local since = 0
for _, kind in ipairs(kinds) do
  local began, ends = string.match(redis.call('HGET', WATCH, kind) or '', '^(%d+) (%d+)$')
  began, ends = tonumber(began), tonumber(ends or 0)
  if time >= ends then began = time end
  since = math.max(since, began)
  if ends - time < WATCHED_FOR then
    redis.call('HSET', WATCH, kind, str(began) .. ' ' .. str(time + WATCHED_FOR + WATCH_EXCESS), 'keep', events_kept)
  end
end

-- The next read continues where this one stops.
for _ = 1, DUE_ROUNDS do
  if record_disconnected(DUE_BATCH) < DUE_BATCH then break end
end

-- read_due adds to out some lists that are due, the oldest first: at least one, and
-- no more than make a reply of about DUE_BYTES. It removes from DUE what is not
-- stored any more, or never was. It returns whether there may be others behind.
local function read_due(out, most)
  local batch, size = math.max(most, DUE_BATCH), 0
  local due = redis.call('ZRANGEBYSCORE', DUE, '-inf', time, 'WITHSCORES', 'LIMIT', 0, batch)
  for j = 1, #due, 2 do
    local entry = redis.pcall('XRANGE', RECIPIENTS, due[j], due[j])[1]
    if entry then
      local fields, at = read_fields(entry), string.match(due[j], '^%d+')
      local list, id = fields.u or '', fields.o or at
      out[#out + 1] = {tonumber(due[j + 1]), due[j], list, fields.a and at or id, id}
      size = size + #list
      if #out == most or size > DUE_BYTES then break end
    else
      redis.call('ZREM', DUE, due[j])
    end
  end
  return #due == 2 * batch
end

local last, last_number = newest(EVENTS)
if read_at < 0 then return {0, time, last, last_number, {}, {}} end
local found = redis.call('XRANGE', EVENTS, '(' .. str(after_time) .. '-' .. str(after_number), '+', 'COUNT', limit)
local lost, events, due = read_at < since, {}, {}
if found[1] then
  local _, first_number = position(found[1])
  lost = lost or first_number ~= after_number + 1
  for j, entry in ipairs(found) do events[j] = entry[2][2] end
  last, last_number = position(found[#found])
else
  lost = lost or last ~= after_time or last_number ~= after_number
end
if want_due and #found < limit then
  for _ = 1, DUE_ROUNDS do
    if not read_due(due, limit - #found) or due[1] then break end
  end
end
return {lost and 1 or 0, time, last, last_number, events, due}
