#!lua
-- Who is connected where: presence is "node=connections,…" for each user that
-- is anywhere.
--
-- KEYS, wherever they begin: presence, counts, leases, events, watch, leaving.

local real, alive = now(''), {}

-- lives says whether a node's lease holds.
local function lives(leases, node)
  if alive[node] == nil then
    alive[node] = tonumber(redis.call('ZSCORE', leases, node) or 0) > real
  end
  return alive[node]
end

-- came is called when a user has connections and had none, went the other way
-- round.
local function came(at, time, user)
  if not watched(KEYS[at + 4], CONNECTED, time) then return end
  local due = redis.call('ZSCORE', KEYS[at + 5], user)
  if due then
    redis.call('ZREM', KEYS[at + 5], user)
    if tonumber(due) > time then return end
    record(KEYS[at + 3], KEYS[at + 4], time, DISCONNECTED, tonumber(due), user, 0, 0)
  end
  record(KEYS[at + 3], KEYS[at + 4], time, CONNECTED, time, user, 0, 0)
end

local function went(at, time, user)
  if watched(KEYS[at + 4], DISCONNECTED, time) then
    settle(KEYS[at + 3], KEYS[at + 4], KEYS[at + 5], KEYS[at], time, 4)
    redis.call('ZADD', KEYS[at + 5], time + LINGER, user)
  end
end

-- place_user stores where a user is; had says whether that was anywhere before.
local function place_user(at, time, user, had, list)
  if list[1] then
    redis.call('HSET', KEYS[at], user, table.concat(list, ','))
    if not had then came(at, time, user) end
  elseif had then
    redis.call('HDEL', KEYS[at], user)
    went(at, time, user)
  end
end

-- register sets how many connections a node holds of a user, there and in the
-- node's sum. It strikes out nodes whose lease has ended, and returns how many
-- connections there are. at is the first of the KEYS.
local function register(at, time, node, user, count)
  local was, sum, list = 0, count, {}
  local had = redis.call('HGET', KEYS[at], user)
  for other, c in string.gmatch(had or '', '(%w+)=(%d+)') do
    if other == node then
      was = tonumber(c)
    elseif lives(KEYS[at + 2], other) then
      list[#list + 1], sum = other .. '=' .. c, sum + c
    end
  end
  if count > 0 then list[#list + 1] = node .. '=' .. count end
  place_user(at, time, user, had, list)
  if count ~= was then
    local counts = KEYS[at + 1]
    redis.call('HINCRBY', counts, node, count - was)
    if count == 0 or was == 0 then redis.call('HINCRBY', counts, users(node), count == 0 and -1 or 1) end
  end
  return sum
end

-- clear strikes dead nodes out of the presence of some users, from a cursor of
-- HSCAN on, and returns the next.
local function clear(at, time, cursor)
  local found = redis.call('HSCAN', KEYS[at], cursor, 'COUNT', 500)
  for j = 1, #found[2], 2 do
    local user, list, dead = found[2][j], {}, false
    for node, c in string.gmatch(found[2][j + 1], '(%w+)=(%d+)') do
      if lives(KEYS[at + 2], node) then list[#list + 1] = node .. '=' .. c else dead = true end
    end
    if dead then
      if string.byte(user) == 255 then redis.call('HDEL', KEYS[at], user) -- a node's probes
      else place_user(at, time, user, true, list) end
    end
  end
  return found[1]
end
