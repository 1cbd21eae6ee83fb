#!lua flags=allow-oom
-- Records deliveries as events.
if not watched(DELIVERED) then return DONE end
for j, user in ipairs(users) do record(user == '' and 0 or DELIVERED, time, user, tonumber(ids[j]), 0) end
return DONE
