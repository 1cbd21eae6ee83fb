#!lua
-- Moves a user's read mark forward, at most to the heads.
--
-- ARGV[6..7]: the mark in the inbox, in the broadcast log.
-- Returns how many messages are unread, -1 for a cursor that no head explains.
local inbox, log = clamp(tonumber(ARGV[6]), inbox_head), clamp(tonumber(ARGV[7]), log_head)
if not inbox or not log then return -1 end
mark, log_mark = math.max(mark, inbox), math.max(log_mark, log)
redis.call('HSET', META, 'i', mark, 'b', log_mark)
return unread()
