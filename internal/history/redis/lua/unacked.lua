#!lua flags=allow-oom
-- Records which users in a note have not acked the message, which is due. That
-- this was done is part of the same step: of those who come with the same note,
-- one does it.
--
-- KEYS: due, events, watch, recalled, then of each user, inbox and meta.
-- ARGV: clock, place of the note, id that the message has in these inboxes, id
-- that it has for whoever sent it, entries that an inbox shows, their age in ms,
-- events to keep, then the users.
-- Returns 1, or 0 if it was done before.
if redis.call('ZREM', KEYS[1], ARGV[2]) == 0 then return 0 end
local time, id, sent = now(ARGV[1]), tonumber(ARGV[3]), tonumber(ARGV[4])
local keep, age = tonumber(ARGV[5]), tonumber(ARGV[6])
if id < first(time - age) or redis.call('ZSCORE', KEYS[4], ARGV[3]) then return 1 end
redis.call('HSET', KEYS[3], 'keep', ARGV[7])

-- there says whether an inbox shows the message. Users in a note who have it
-- under another id are found under no other.
local function there(inbox)
  local at, e, len = find(inbox, id)
  if not at or at < len - keep then return false end
  return not has(string.byte(e), TTL) or struct.unpack('>I6', e, 9) > time
end

for j = 8, #ARGV do
  local inbox, meta = KEYS[2 * j - 11], KEYS[2 * j - 10]
  if tonumber(redis.call('HGET', meta, 'i') or 0) < id and there(inbox) then
    record(KEYS[2], KEYS[3], time, UNACKED, time, ARGV[j], sent, 0)
  end
end
return 1
