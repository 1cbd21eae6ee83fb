#!lua
-- Appends a broadcast to the log of the home partition, which gives its id.
--
-- Returns {outcome, id, connections in this partition, users who have them, id of
-- the broadcast before, when it expires}. Outcomes: DONE, DUPLICATE.
local earlier = earlier_push()
if earlier then return {DUPLICATE, earlier, 0, 0, 0, 0} end

local prev, number = newest(LOG)
local id = next_id(math.max(tonumber(redis.call('GET', LAST_ID) or 0), prev))
local expires = ttl > 0 and math.floor(id / IDS_PER_MS) + ttl or 0
redis.call('SET', LAST_ID, id)
append_broadcast(id, number + 1, prev, expires)
save_push(id, 1, 1, 0)
local sum, present = online()
return {DONE, id, sum, present, prev, expires}
