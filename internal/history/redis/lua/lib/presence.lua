-- Presence of users: PRESENCE has "node=connections,…" for each user who
-- has a connection. COUNTS has each node's connections in this partition, and its
-- users.

-- leases caches until when nodes have their leases, by the server's clock, which is
-- at "now".
local leases = {}

local function living_nodes() return redis.call('ZRANGEBYSCORE', LEASES, '(' .. str(server_time()), '+inf') end

-- connections reads a value of PRESENCE. It returns the nodes that live in a list,
-- which also has the connections of each at its name, their sum, and whether nodes
-- were left out because they are dead. The node self counts as living.
local function connections(value, self)
  local nodes, sum, dead = {}, 0, false
  for node, count in string.gmatch(value, '(%w+)=(%d+)') do
    leases.now = leases.now or server_time()
    leases[node] = leases[node] or tonumber(redis.call('ZSCORE', LEASES, node) or 0)
    if node == self or leases[node] > leases.now then
      nodes[#nodes + 1], nodes[node], sum = node, count, sum + count
    else
      dead = true
    end
  end
  return nodes, sum, dead
end

-- presence_of returns the value of PRESENCE that connections reads.
local function presence_of(nodes)
  local list = {}
  for j, node in ipairs(nodes) do list[j] = node .. '=' .. nodes[node] end
  return table.concat(list, ',')
end

-- user_count is the field of a node's users in COUNTS; its connections are at the
-- node's name.
local function user_count(node) return node .. ':u' end

-- online adds up the connections that living nodes hold in this partition, and
-- the users who have them on each.
local function online()
  local sum, present = 0, 0
  for _, node in ipairs(living_nodes()) do
    local n = redis.call('HMGET', COUNTS, node, user_count(node))
    sum, present = sum + (n[1] or 0), present + (n[2] or 0)
  end
  return sum, present
end

-- probe_user is the user to whom a node's probes go: no backend can name it, since
-- it is not UTF-8.
local function probe_user(node) return PROBE_PREFIX .. node end

-- forget_node deletes what a node has in a partition, except for its stream, and
-- has the presence of all users cleared of it.
local function forget_node(node)
  redis.call('ZREM', LEASES, node)
  redis.call('HDEL', COUNTS, node, user_count(node))
  redis.call('HDEL', PRESENCE, probe_user(node))
  redis.call('SET', SCAN, 0)
end

-- set_presence stores where a user is connected; before says whether the user was
-- connected anywhere.
local function set_presence(user, before, nodes)
  if nodes[1] then
    redis.call('HSET', PRESENCE, user, presence_of(nodes))
    if not before then connected(user) end
  elseif before then
    redis.call('HDEL', PRESENCE, user)
    disconnected(user)
  end
end

local function remove(list, value)
  for j = #list, 1, -1 do
    if list[j] == value then table.remove(list, j) end
  end
end

-- register sets how many connections a node holds of a user, and returns how many
-- the user has. It strikes out nodes whose lease has ended.
local function register(node, user, count)
  local value = redis.call('HGET', PRESENCE, user)
  local nodes, sum = connections(value or '', node)
  local before = tonumber(nodes[node] or 0)
  nodes[node] = count
  if before == 0 and count > 0 then nodes[#nodes + 1] = node end
  if before > 0 and count == 0 then remove(nodes, node) end
  set_presence(user, value, nodes)
  if count ~= before then
    redis.call('HINCRBY', COUNTS, node, count - before)
    if count == 0 or before == 0 then redis.call('HINCRBY', COUNTS, user_count(node), count == 0 and -1 or 1) end
  end
  return sum - before + count
end

-- clear_presence strikes dead nodes out of the presence of some users, beginning
-- at a cursor of HSCAN, and returns the next cursor.
local function clear_presence(cursor)
  local found = redis.call('HSCAN', PRESENCE, cursor, 'COUNT', SCAN_BATCH)
  for j = 1, #found[2], 2 do
    local user = found[2][j]
    local nodes, _, dead = connections(found[2][j + 1])
    if dead then
      if string.sub(user, 1, 1) == PROBE_PREFIX then redis.call('HDEL', PRESENCE, user)
      else set_presence(user, true, nodes) end
    end
  end
  return found[1]
end
