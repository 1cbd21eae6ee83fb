#!lua flags=allow-oom
-- Records what was delivered.
--
-- KEYS: events, watch. ARGV: clock, then user and id, …; id 0 of no user stands
-- for some that were not recorded. Returns 1.
local time = now(ARGV[1])
if not watched(KEYS[2], DELIVERED, time) then return 1 end
for j = 2, #ARGV, 2 do
  local kind = ARGV[j] == '' and 0 or DELIVERED
  record(KEYS[1], KEYS[2], time, kind, time, ARGV[j], tonumber(ARGV[j + 1]), 0)
end
return 1
