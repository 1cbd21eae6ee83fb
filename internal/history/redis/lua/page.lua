#!lua flags=no-writes
-- Reads one page of a user's history.
--
-- Returns {unread, page}, or {-1} for a cursor that no head explains.
local from, log_from = 0, 0
if unread_only then from, log_from = mark, log_mark end
if direction ~= FORWARD then return {unread(), backward(before, from, log_from)} end
local inbox, log = clamp(after_inbox, inbox_head), clamp(after_broadcast, log_head)
if not inbox or not log then return {-1} end
return {unread(), forward(math.max(inbox, from), math.max(log, log_from))}
