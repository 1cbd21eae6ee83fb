#!lua
-- Appends to a partition's copy of the broadcast log what the home partition
-- has given an id. It must follow on what the copy ends with, so that relays of
-- several nodes may overtake and repeat each other. Numbers are the copy's own:
-- after a failover its log need not be the home's to the last entry.
--
-- KEYS: log, leases, counts, ends of TTLs, expired, topics.
-- ARGV: clock, id, prev, expires, data, keep, age, 1 if the home partition has
-- nothing between the end of the copy and this, the connection that is not to
-- get it live, collapse key.
-- Returns {outcome, connections that are here, users who have them}; outcome 0:
-- appended, 1: was there, 2: one before it is missing.
local id = tonumber(ARGV[2])
local at, bn = top(KEYS[1])
if at >= id then return {1, online(KEYS[2], KEYS[3])} end
if at ~= tonumber(ARGV[3]) and ARGV[8] ~= '1' then return {2, 0, 0} end
append_broadcast(KEYS[1], KEYS[4], KEYS[5], KEYS[6], id, bn + 1, at, tonumber(ARGV[4]), ARGV[5], ARGV[9], ARGV[10],
  tonumber(ARGV[6]), first(now(ARGV[1]) - tonumber(ARGV[7])))
return {0, online(KEYS[2], KEYS[3])}
