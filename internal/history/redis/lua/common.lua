#!lua
-- What all scripts share. The loader puts it before each of them.
--
-- Numbers: ids have up to 53 bits and are doubles here, exactly. Given to
-- redis.call or returned they keep all digits; in a concatenation they would
-- not, so strings are made of them with %.0f only.
--
-- An entry of an inbox, and a row of a reply:
--   1 byte flags, 7 bytes id, [TTL: 6 bytes end in ms], [FAR: 7 bytes id of
--   the body], [COLLAPSE: 1 byte length, collapse key], data unless it is a REF
local REF, MULTICAST, TTL, FAR, BROADCAST, RECALL, COLLAPSE = 1, 2, 4, 8, 16, 32, 128

local EPOCH = 1704067200000 -- 2024-01-01, in ms: the time of id 0
local PER_MS = 4096         -- ids in a millisecond

-- now returns the milliseconds since EPOCH: of a test's clock if one is given,
-- else of this server. Leases always go by the server.
local function now(given)
  if given ~= '' then return tonumber(given) end
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000) - EPOCH
end

-- first returns the smallest id of a time, 0 before EPOCH.
local function first(ms) return math.max(0, ms) * PER_MS end

local function str(n) return string.format('%.0f', n) end

-- own returns the first id from the given one on that is of a share, "n of m":
-- so no two partitions give the same, and no id is in both logs of a user.
local function own(id, share)
  local n, m = string.match(share, '^(%d+) of (%d+)$')
  return id + (n - id) % m
end

-- has: whether flags holds the one bit f.
local function has(flags, f) return flags % (2 * f) >= f end

local function head(flags, id, expires)
  if expires > 0 then return struct.pack('>BI7I6', flags + TTL, id, expires) end
  return struct.pack('>BI7', flags, id)
end

-- find returns where an inbox has the entry with an id, the entry, and how many
-- there are; nothing if it is not there.
local function find(inbox, id)
  local lo, len = 0, redis.call('LLEN', inbox)
  local hi = len
  while lo < hi do
    local mid = math.floor((lo + hi) / 2)
    if struct.unpack('>I7', redis.call('LINDEX', inbox, mid), 2) < id then lo = mid + 1 else hi = mid end
  end
  local e = redis.call('LINDEX', inbox, lo)
  if e and struct.unpack('>I7', e, 2) == id then return lo, e, len end
end

-- fields returns those of a stream's entry: what leads the message, the message
-- and, where there are such, the connection that is not to get it live and the
-- collapse key.
local function fields(lead, head, data, exclude, collapse)
  local list = {lead, head, 'd', data}
  if exclude ~= '' then list[5], list[6] = 'x', exclude end
  if collapse ~= '' then list[#list + 1], list[#list + 2] = 'c', collapse end
  return unpack(list)
end

-- read_fields returns what a stream's entry says, by field.
local function read_fields(entry)
  local f = {}
  for i = 1, #entry[2], 2 do f[entry[2][i]] = entry[2][i + 1] end
  return f
end

-- tagged returns a collapse key as it stands in an entry.
local function tagged(key) return string.char(#key) .. key end

-- probed is the user that a node's probes go to: no backend can name it, since
-- it is not UTF-8.
local function probed(node) return '\255' .. node end

-- place reads the id of a broadcast log's entry, "id-bn": bn numbers
-- broadcasts without gaps.
local function place(entry)
  local id, bn = string.match(entry[1], '^(%d+)-(%d+)$')
  return tonumber(id), tonumber(bn)
end

-- top returns id and bn of the last entry of a broadcast log, 0 if there is
-- none.
local function top(log)
  local last = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)
  if last[1] then return place(last[1]) end
  return 0, 0
end

-- forget_gone takes out of a HASH the broadcasts that the log does not keep any
-- more, when there are some.
local function forget_gone(hash, log)
  if redis.call('HLEN', hash) <= redis.call('XLEN', log) + 64 then return end
  local e = redis.call('XRANGE', log, '-', '+', 'COUNT', 1)[1]
  local oldest = e and place(e) or math.huge
  for _, id in ipairs(redis.call('HKEYS', hash)) do
    if tonumber(id) < oldest then redis.call('HDEL', hash, id) end
  end
end

-- users is the field of a node's users beside that of its connections.
local function users(node) return node .. ':u' end

-- online adds up the connections that living nodes hold in this partition, and
-- the users who have them on each.
local function online(leases, counts)
  local connections, present = 0, 0
  for _, node in ipairs(redis.call('ZRANGEBYSCORE', leases, now(''), '+inf')) do
    local n = redis.call('HMGET', counts, node, users(node))
    connections, present = connections + (n[1] or 0), present + (n[2] or 0)
  end
  return connections, present
end

-- forget_counts takes a node out of the counts.
local function forget_counts(counts, node) redis.call('HDEL', counts, node, users(node)) end
