#!lua
-- Moves a user's read mark forward, at most to the heads.
--
-- KEYS[9..10]: events, watch. ARGV[6..7]: the mark in the inbox, in the
-- broadcast log, and the user.
-- Returns how many messages are unread, -1 for a cursor that no head explains.
local inbox, log = clamp(tonumber(ARGV[6]), inbox_head), clamp(tonumber(ARGV[7]), log_head)
if not inbox or not log then return -1 end
local moved = inbox > mark or log > log_mark
mark, log_mark = math.max(mark, inbox), math.max(log_mark, log)
redis.call('HSET', META, 'i', mark, 'b', log_mark)
if moved and watched(KEYS[10], ACKED, time) then
  record(KEYS[9], KEYS[10], time, ACKED, time, ARGV[8], mark, log_mark)
end
return unread()
