#!lua
-- Gives a message that is not kept to the streams of the nodes where some users
-- of a partition are connected, or, with no users, to those of all nodes.
-- Nothing else is written but the last id.
--
-- KEYS: last id, presence, leases, counts, s streams.
-- ARGV: clock, floor, id (0: this partition gives it), flags, data, connection
-- that is not to get it, length of streams, share of ids, n, s, n users, s nodes.
-- Returns {outcome, id, connections that are here, users who have them}; outcome
-- 0: done, 2: a node lives whose stream is not among KEYS, nothing done.
local floor, id, flags = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local data, exclude, maxlen, share = ARGV[5], ARGV[6], ARGV[7], ARGV[8]
local n, s = tonumber(ARGV[9]), tonumber(ARGV[10])
local USERS, NODES, STREAM = 10, 10 + n, 4

local streams, lines, alive = {}, {}, {}
for j = 1, s do streams[ARGV[NODES + j]] = KEYS[STREAM + j] end
for _, node in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], now(''), '+inf')) do
  alive[node] = true
  if n == 0 then lines[node] = '' end
end

local connections, present = 0, 0
if n == 0 then
  connections, present = online(KEYS[3], KEYS[4])
else
  for j, where in ipairs(redis.call('HMGET', KEYS[2], unpack(ARGV, USERS + 1, USERS + n))) do
    local here, user = 0, ARGV[USERS + j]
    for node, count in string.gmatch(where or '', '(%w+)=(%d+)') do
      if alive[node] then
        here = here + count
        lines[node] = (lines[node] or '') .. struct.pack('>I7B', 0, #user) .. user
      end
    end
    if here > 0 then connections, present = connections + here, present + 1 end
  end
end
for node in pairs(lines) do
  if not streams[node] then return {2, 0, 0, 0} end
end

if id == 0 then
  local time = now(ARGV[1])
  local last = tonumber(redis.call('GET', KEYS[1]) or 0)
  id = own(math.max(first(time), last + 1, math.min(floor, first(time + 60000)) + 1), share)
  redis.call('SET', KEYS[1], id)
end
for node, recipients in pairs(lines) do
  redis.call('XADD', streams[node], 'MAXLEN', '~', maxlen, '*', fields('e', head(flags, id, 0) .. recipients, data, exclude, ''))
end
return {0, id, connections, present}
