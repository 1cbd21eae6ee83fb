#!lua flags=allow-oom
-- Sets how many connections a node holds of some users. Absolute numbers, so
-- that doing it again changes nothing.
--
-- KEYS: presence, counts, leases. ARGV: node, then user and number, …
for j = 2, #ARGV, 2 do register(KEYS[1], KEYS[2], KEYS[3], ARGV[1], ARGV[j], tonumber(ARGV[j + 1])) end
return 1
