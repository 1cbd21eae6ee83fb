#!lua
-- Appends a broadcast, to which the home partition has given an id, to this
-- partition's copy of the log. It must follow the copy's last entry, so relays of
-- several nodes may overtake and repeat each other. Numbers are the copy's own:
-- after a failover the logs may differ in their last entries.
--
-- Returns {outcome, connections in this partition, users who have them}. Outcomes:
-- DONE; DUPLICATE; GAP: a broadcast before it is missing, nothing was done.
local last, number = newest(LOG)
if last >= id then return {DUPLICATE, online()} end
if last ~= prev and not follows then return {GAP, 0, 0} end
append_broadcast(id, number + 1, last, expires)
return {DONE, online()}
