#!lua flags=no-writes
-- Counts the users whose read mark lies at a broadcast or later, and the
-- connections that it went to.
--
-- KEYS: tally, counts of connections. ARGV: id. Returns {users, connections}.
local all, n, id = redis.call('HGETALL', KEYS[1]), 0, tonumber(ARGV[1])
for j = 1, #all, 2 do
  if tonumber(all[j]) >= id then n = n + tonumber(all[j + 1]) end
end
return {n, tonumber(redis.call('HGET', KEYS[2], ARGV[1]) or 0)}
