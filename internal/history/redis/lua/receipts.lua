#!lua flags=no-writes
-- Tells of some users when the message that each has under an id was delivered, and
-- when it was acked.
--
-- Returns for each user two numbers, of the delivery and of the ack: -1 if there
-- was none, else when, in ms, 0 if that is not known any more.
local out = {}
for j, id in ipairs(ids) do
  id = tonumber(id)
  out[2 * j - 1] = delivered_at(redis.call('GET', DELIVERED_RANGES[j]), id)
  out[2 * j] = acked_at(redis.call('HGET', METAS[j], 'i'), redis.call('GET', MARK_MOVES[j]), id)
end
return out
