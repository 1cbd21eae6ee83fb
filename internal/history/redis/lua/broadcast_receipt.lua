#!lua flags=no-writes
-- Returns {users whose read mark lies at a broadcast or later, connections that it
-- went to}.
local marks, users = redis.call('HGETALL', BROADCAST_MARKS), 0
for j = 1, #marks, 2 do
  if tonumber(marks[j]) >= id then users = users + tonumber(marks[j + 1]) end
end
return {users, tonumber(redis.call('HGET', BROADCAST_DELIVERIES, str(id)) or 0)}
