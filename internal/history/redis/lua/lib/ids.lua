-- Times and ids.
--
-- Ids have up to 53 bits, which Lua's doubles hold exactly. redis.call and replies
-- keep all their digits; concatenation does not, so strings are made with str.

local function server_time()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000) - EPOCH
end

-- now returns milliseconds since EPOCH, by a test's clock if one is given. Leases
-- always go by server_time.
local function now(clock)
  if clock ~= '' then return tonumber(clock) end
  return server_time()
end

-- first_id returns the smallest id of a time, 0 before EPOCH.
local function first_id(ms) return math.max(0, ms) * IDS_PER_MS end

local function str(n) return string.format('%.0f', n) end

-- own_id returns the first id from the given one on that this partition may give:
-- those congruent to its number. So no two partitions give the same id, and no id
-- is in both logs of a user.
local function own_id(id) return id + (partition - id) % partitions end

-- next_id returns the id after the last one. A floor that is further ahead than
-- MAX_AHEAD is not believed.
local function next_id(last)
  return own_id(math.max(first_id(time), last + 1, math.min(floor, first_id(time + MAX_AHEAD)) + 1))
end
