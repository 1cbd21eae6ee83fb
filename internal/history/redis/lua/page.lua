#!lua flags=no-writes
-- Reads one page of a user's history.
--
-- ARGV[6..]: direction (0 newest, 1 forward, 2 backward), after in the inbox,
-- in the broadcast log, before, 1 for unread only, limit, most bytes.
-- Returns {unread, page}, or {-1} for a cursor that no head explains.
local low, log_low = 0, 0
if ARGV[10] == '1' then low, log_low = mark, log_mark end
local limit, most = tonumber(ARGV[11]), tonumber(ARGV[12])
if ARGV[6] == '1' then
  local inbox, log = clamp(tonumber(ARGV[7]), inbox_head), clamp(tonumber(ARGV[8]), log_head)
  if not inbox or not log then return {-1} end
  return {unread(), forward(math.max(inbox, low), math.max(log, log_low), limit, most)}
end
return {unread(), backward(tonumber(ARGV[9]), low, log_low, limit, most)}
