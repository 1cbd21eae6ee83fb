#!lua flags=no-writes
-- Tells to which users a message was delivered, which have acked it, and when.
--
-- KEYS: of each user, trail, meta and moves of the read mark. ARGV: of each, the
-- id that the message has in the user's inbox.
-- Returns for each two numbers, of the delivery and of the ack: -1 if there was
-- none, else when, in ms, 0 if that is not known any more.

local unpack = struct.unpack

-- delivered finds the first span of a trail that the message lies in; trail.lua
-- has the layout.
local function delivered(trail, id)
  if not trail or unpack('>I7', trail) < id then return -1 end
  for at = 8, #trail, 20 do
    if unpack('>I7', trail, at + 7) >= id then -- else the rest need not be read
      local from, _, time = unpack('>I7I7I6', trail, at)
      if from < id then return time end
    end
  end
  return -1
end

-- acked finds the first move that went so far; ack.lua has the layout.
local function acked(mark, moves, id)
  if tonumber(mark or 0) < id then return -1 end
  moves = redis.call('GET', moves) or ''
  if #moves > 7 and unpack('>I7', moves) < id then
    for at = 8, #moves, 13 do
      local to, time = unpack('>I7I6', moves, at)
      if to >= id then return time end
    end
  end
  return 0
end

local out = {}
for j = 1, #ARGV do
  local id = tonumber(ARGV[j])
  out[2 * j - 1] = delivered(redis.call('GET', KEYS[3 * j - 2]), id)
  out[2 * j] = acked(redis.call('HGET', KEYS[3 * j - 1], 'i'), KEYS[3 * j], id)
end
return out
