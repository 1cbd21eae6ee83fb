#!lua
-- Appends a broadcast to the log of the home partition, which gives its id.
--
-- KEYS: last id, record, log, leases, counts, ends of TTLs, expired, topics.
-- ARGV: clock, floor, data, ttl, remember, forget, keep, age, share of ids,
-- connection that is not to get it live, collapse key.
-- Returns {outcome, id, connections that are here, users who have them, prev,
-- expires}; outcome 0: stored, 1: was stored before.
local time, floor, data, ttl = now(ARGV[1]), tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
local remember, forget, keep, age = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])

local record = redis.call('GET', KEYS[2])
if record then
  local was = tonumber(string.match(record, '^%d+'))
  if time < math.floor(was / PER_MS) + remember then
    redis.call('SET', KEYS[2], record, 'KEEPTTL')
    return {1, was, 0, 0, 0, 0}
  end
end

local last = tonumber(redis.call('GET', KEYS[1]) or 0)
local prev, bn = top(KEYS[3])
local id = own(math.max(first(time), last + 1, prev + 1, math.min(floor, first(time + 60000)) + 1), ARGV[9])
local expires = ttl > 0 and math.floor(id / PER_MS) + ttl or 0
redis.call('SET', KEYS[1], id)
append_broadcast(KEYS[3], KEYS[6], KEYS[7], KEYS[8], id, bn + 1, prev, expires, data, ARGV[10], ARGV[11], keep, first(time - age))

record = string.format('%.0f 1 1 0', id)
if forget > 0 then
  redis.call('SET', KEYS[2], record, 'PX', forget)
else
  redis.call('SET', KEYS[2], record)
end
local connections, present = online(KEYS[4], KEYS[5])
return {0, id, connections, present, prev, expires}
