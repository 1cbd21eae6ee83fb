#!lua flags=no-writes
-- Tells which users have acked a message, and when.
--
-- KEYS: of each user, meta and moves of the read mark. ARGV: of each, the id
-- that the message has in the user's inbox.
-- Returns for each -1 if it is not acked, else when, in ms, 0 if that is not
-- known any more.
local out = {}
for j = 1, #ARGV do
  local id, at = tonumber(ARGV[j]), -1
  if tonumber(redis.call('HGET', KEYS[2 * j - 1], 'i') or 0) >= id then
    at = 0
    local moves = redis.call('GET', KEYS[2 * j]) or ''
    if #moves > 7 and struct.unpack('>I7', moves) < id then
      for k = 8, #moves, 13 do
        local to, when = struct.unpack('>I7I6', moves, k)
        if to >= id then
          at = when
          break
        end
      end
    end
  end
  out[j] = at
end
return out
