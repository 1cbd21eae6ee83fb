#!lua
-- Registers a user's connections on a node and reads where the new one begins.
--
-- Returns {unread, connections of the user on all nodes, where it begins in the
-- inbox, in the broadcast log, page}, or {-1} for a cursor that no head explains.
local inbox, log = inbox_head, log_head
if start == START_AFTER then
  inbox, log = clamp(after_inbox, inbox_head), clamp(after_broadcast, log_head)
  if not inbox or not log then return {-1} end
elseif start == START_UNREAD then
  inbox, log = mark, log_mark
end
local sum = register(node, user, count)
local page = start == START_NOW and {inbox, log, 0, 0, {}, {}} or forward(inbox, log)
return {unread(), sum, inbox, log, page}
