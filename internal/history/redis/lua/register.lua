#!lua flags=allow-oom
-- Sets how many connections a node holds of some users. Absolute numbers, so
-- that doing it again changes nothing.
--
-- KEYS: those of presence.lua. ARGV: clock, node, then user and number, …
local time = now(ARGV[1])
for j = 3, #ARGV, 2 do register(1, time, ARGV[2], ARGV[j], tonumber(ARGV[j + 1])) end
return 1
