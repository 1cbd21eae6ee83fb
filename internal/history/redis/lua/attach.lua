#!lua
-- Registers a user's connections on a node and reads where the new one begins.
--
-- KEYS[9..14]: those of presence.lua.
-- ARGV[6..]: where (0 now, 1 after a cursor, 2 after the read mark), cursor in
-- the inbox, in the broadcast log, limit, most bytes, node, user, how many
-- connections the node holds of the user.
-- Returns {unread, connections of the user on all nodes, from in the inbox, in
-- the broadcast log, page}, or {-1}.
local inbox, log = inbox_head, log_head
if ARGV[6] == '1' then
  inbox, log = clamp(tonumber(ARGV[7]), inbox_head), clamp(tonumber(ARGV[8]), log_head)
  if not inbox or not log then return {-1} end
elseif ARGV[6] == '2' then
  inbox, log = mark, log_mark
end
local all = register(9, time, ARGV[11], ARGV[12], tonumber(ARGV[13]))
if ARGV[6] == '0' then return {unread(), all, inbox, log, {inbox, log, 0, 0, {}, {}}} end
return {unread(), all, inbox, log, forward(inbox, log, tonumber(ARGV[9]), tonumber(ARGV[10]))}
