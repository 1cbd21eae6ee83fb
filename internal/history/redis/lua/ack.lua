#!lua
-- Moves a user's read mark forward, at most to the heads, and tells the nodes where
-- the user is connected.
--
-- Returns {outcome, unread messages, read mark in the inbox, in the broadcast log}.
-- Outcomes: DONE; NEW_NODE, and FUTURE for a cursor that no head explains: then
-- nothing was done.
local inbox, log = clamp(to_inbox, inbox_head), clamp(to_broadcast, log_head)
if not inbox or not log then return {FUTURE, 0, 0, 0} end
local moved = inbox > mark or log > log_mark

local streams, where = streams_by_node(), {}
if moved then
  where = locate({user}, streams)
  if not where then return {NEW_NODE, 0, 0, 0} end
end
if inbox > mark then save_mark_move(mark, inbox) end

-- broadcast_at returns the id of the broadcast that a mark lies at, 0 before the first.
local function broadcast_at(id)
  if id < log_first then return 0 end
  local entry = redis.call('XREVRANGE', LOG, str(id), '-', 'COUNT', 1)
  return entry[1] and position(entry[1]) or 0
end

-- BROADCAST_MARKS has how many read marks lie at each broadcast: the users who have
-- acked a broadcast are all whose mark lies there or later.
if log > log_mark then
  local from, to = broadcast_at(log_mark), broadcast_at(log)
  if from ~= to then
    if from > 0 and redis.call('HINCRBY', BROADCAST_MARKS, str(from), -1) <= 0 then
      redis.call('HDEL', BROADCAST_MARKS, str(from))
    end
    redis.call('HINCRBY', BROADCAST_MARKS, str(to), 1)
    forget_dropped(BROADCAST_MARKS)
  end
end

mark, log_mark = math.max(mark, inbox), math.max(log_mark, log)
redis.call('HSET', META, 'i', mark, 'b', log_mark)
if moved and watched(ACKED) then record(ACKED, time, user, mark, log_mark) end
local left = unread()
for _, node in ipairs(where[1] or {}) do
  deliver_ack(streams[node], math.max(inbox_head, log_head), mark, log_mark, left, user, exclude)
end
return {DONE, left, mark, log_mark}
