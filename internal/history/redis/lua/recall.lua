#!lua
-- Takes a message back from users of a partition, and tells the nodes where they
-- are connected.
--
-- A multicast's id goes into a set that all who read look into, and its body
-- goes if it lies under that id, whatever the number of inboxes. What one inbox alone has under this id
-- is rewritten in place, as an entry that has expired.
--
-- KEYS: recalled, bodies, presence, leases, inbox, meta, s streams; inbox and
-- meta are used if there is one user who has the message alone.
-- ARGV: clock, id, flags, age in ms, 1 if one user has it alone, number of
-- users, of nodes, users, nodes.
-- Returns 1, or 2 if a node is connected whose stream is not among KEYS: then
-- nothing is done, and it is to be called again.
local time, id, flags, age = now(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local n, s = tonumber(ARGV[6]), tonumber(ARGV[7])
local USERS, NODES, STREAM = 7, 7 + n, 6

local function hide()
  local at, e = find(KEYS[5], id)
  if not at then return end
  redis.call('LSET', KEYS[5], at, head(has(string.byte(e), MULTICAST) and MULTICAST or 0, id, 1))
  redis.call('HSET', KEYS[6], 't', math.max(tonumber(redis.call('HGET', KEYS[6], 't') or 0), id))
end

-- drop deletes the body, if it is the message's that lies under its id. The
-- stream of bodies must go on to tell its last id: in the place of the newest an
-- empty one stays.
local function drop()
  local body = redis.call('XRANGE', KEYS[2], str(id) .. '-0', str(id) .. '-0')[1]
  if not body or body[2][3] then return end
  local newest = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)
  if newest[1] and newest[1][1] == str(id) .. '-0' then
    redis.call('XADD', KEYS[2], str(id) .. '-1', 'd', '')
  end
  redis.call('XDEL', KEYS[2], str(id) .. '-0')
end

local streams, real, lines = {}, now(''), {}
for j = 1, s do streams[ARGV[NODES + j]] = KEYS[STREAM + j] end
local where = redis.call('HMGET', KEYS[3], unpack(ARGV, USERS + 1, USERS + n))
for j = 1, n do
  local user = ARGV[USERS + j]
  for node in string.gmatch(where[j] or '', '(%w+)=%d+') do
    if tonumber(redis.call('ZSCORE', KEYS[4], node) or 0) > real then
      if not streams[node] then return 2 end
      lines[node] = (lines[node] or head(flags + RECALL, id, 0)) .. struct.pack('>I7B', 0, #user) .. user
    end
  end
end
if ARGV[5] == '1' then
  hide()
else
  redis.call('ZADD', KEYS[1], id, str(id))
  redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. str(first(time - age)))
  drop()
end

for node, line in pairs(lines) do redis.call('XADD', streams[node], '*', 'e', line, 'd', '') end
return 1
