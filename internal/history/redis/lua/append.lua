#!lua
-- Appends one message to the inboxes of some users of a partition, and to the
-- streams of the nodes where they are connected.
--
-- A push to many users comes as several chunks, in order, over one connection.
-- The push's record says how far it came: "id chunks-done chunks-in-all body".
-- So a retry goes on where the first try broke off, and stores nothing twice.
--
-- KEYS: last id, record, bodies, presence, leases, notes, moved, due if it is
-- asked who has not acked it, n inboxes, n metas if there is a TTL or a collapse
-- key, n topics if there is that, s streams. ARGV: see args in append.go.
-- Returns {outcome, id, users, connections that are here, users who have them,
-- users whose first entry it is}; outcome 0: stored, 1: was stored before, 2: a
-- node is connected whose stream is not among KEYS, nothing done, 3: the chunk
-- before this one is missing, nothing done.
local clock, floor, id, flags = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local data, ttl, inline = ARGV[5], tonumber(ARGV[6]), ARGV[7] == '1'
local chunk, chunks = tonumber(ARGV[8]), tonumber(ARGV[9])
local remember, forget = tonumber(ARGV[10]), tonumber(ARGV[11])
local keep, age, maxlen = tonumber(ARGV[12]), tonumber(ARGV[13]), ARGV[14]
local share, n, s = ARGV[15], tonumber(ARGV[16]), tonumber(ARGV[17])
local exclude = ARGV[18]
local names = ARGV[19] -- the users as notes have them; none: nothing is noted
local collapse = ARGV[20]
local unacked = tonumber(ARGV[21]) -- ms until it is asked who has not acked it; 0: never
local USERS, NODES = 21, 21 + n
local INBOX = unacked > 0 and 8 or 7
local META, TOPIC = INBOX + n, INBOX + 2 * n
local STREAM = INBOX + (collapse ~= '' and 3 * n or ttl > 0 and 2 * n or n)
local time = now(clock)

-- What became of this push before.
local body = 0
local record = redis.call('GET', KEYS[2])
if record then
  local was, done, all, at = string.match(record, '^(%d+) (%d+) (%d+) (%d+)$')
  was, done = tonumber(was), tonumber(done)
  if time < math.floor(was / PER_MS) + remember then
    if done == tonumber(all) or done >= chunk then
      -- A write, so that a WAIT after it waits for what was written before.
      redis.call('SET', KEYS[2], record, 'KEEPTTL')
      return {1, was, 0, 0, 0, 0}
    end
    id, body = was, tonumber(at)
    if done < chunk - 1 then return {3, 0, 0, 0, 0, 0} end
  elseif chunk > 1 then
    return {3, 0, 0, 0, 0, 0}
  end
elseif chunk > 1 then
  return {3, 0, 0, 0, 0, 0}
end

-- Who is connected where: presence is "node=connections,…". Nodes whose lease
-- has ended are struck out.
local streams, alive, online, struck = {}, {}, 0, {}
for j = 1, s do streams[ARGV[NODES + j]] = KEYS[STREAM + j] end
local real
local function lives(node)
  if alive[node] == nil then
    real = real or now('')
    alive[node] = tonumber(redis.call('ZSCORE', KEYS[5], node) or 0) > real
  end
  return alive[node]
end
local where = redis.call('HMGET', KEYS[4], unpack(ARGV, USERS + 1, USERS + n))
local nodes, present = {}, 0 -- of the j-th user, where it has any; how many have
for j = 1, n do
  if where[j] then
    local here, dead = {}, false
    for node, count in string.gmatch(where[j], '(%w+)=(%d+)') do
      if not lives(node) then
        dead = true
      elseif not streams[node] then
        return {2, 0, 0, 0, 0, 0}
      else
        here[#here + 1], online = node, online + count
        here[node] = count
      end
    end
    if dead then struck[j] = here end
    if #here > 0 then nodes[j], present = here, present + 1 end
  end
end

-- The id. An id that was chosen in another partition or by an earlier chunk may
-- have been overtaken; then each inbox is looked at. If it is still the last one,
-- as mostly for a later chunk, none has.
local last = tonumber(redis.call('GET', KEYS[1]) or 0)
if id == 0 then id = own(math.max(first(time), last + 1, math.min(floor, first(time + 60000)) + 1), share) end
local overtaken = id < last

-- drop takes some of those out of a ZSET that lie below a score.
local function drop(zset, below)
  local gone = redis.call('ZRANGEBYSCORE', zset, '-inf', '(' .. str(below), 'LIMIT', 0, 100)
  if gone[1] then redis.call('ZREM', zset, unpack(gone)) end
end

-- note says to whom a message went, for recalls and receipts, and has it found out
-- in time which of them have not acked it. The stream takes only rising ids: what
-- comes late lies at its end, and moved tells where. apart: these users have the
-- message under the id that the note lies at.
local function note(at, users, apart)
  local fields = {'u', users}
  if at ~= id then
    fields[3], fields[4] = 'o', str(id)
    if apart then fields[5], fields[6] = 'a', '' end
  end
  local cutoff = first(time - age)
  local place = redis.call('XADD', KEYS[6], 'MINID', '~', str(cutoff), str(at) .. '-*', unpack(fields))
  if at ~= id then
    redis.call('ZADD', KEYS[7], id, place)
    drop(KEYS[7], cutoff)
  end
  if unacked > 0 then
    redis.call('ZADD', KEYS[8], math.floor(id / PER_MS) + unacked, place)
    drop(KEYS[8], time - age)
    -- By then the messages are gone.
    if forget > 0 then redis.call('PEXPIRE', KEYS[8], age) end
  end
end
if names ~= '' then note(math.max(id, last), names, false) end

if not overtaken then last = id end
local expires = ttl > 0 and math.floor(id / PER_MS) + ttl or 0

if not inline and body == 0 then
  -- The stream of bodies takes only rising ids.
  body = id
  local newest = redis.call('XREVRANGE', KEYS[3], '+', '-', 'COUNT', 1)
  if newest[1] then body = math.max(id, tonumber(string.match(newest[1][1], '^%d+')) + 1) end
  -- Where it lies under another id than the message's, it says whose it is.
  local owner = body ~= id and {'o', str(id)} or {}
  redis.call('XADD', KEYS[3], 'MINID', '~', str(first(time - age)), str(body) .. '-0', 'd', data, unpack(owner))
end

-- entry returns what is put into an inbox at a position.
local tag = ''
if collapse ~= '' then flags, tag = flags + COLLAPSE, tagged(collapse) end
local function entry(at)
  if inline then return head(flags, at, expires) .. tag .. data end
  if body == at then return head(flags + REF, at, expires) .. tag end
  return head(flags + REF + FAR, at, expires) .. struct.pack('>I7', body) .. tag
end

-- A user's topics are the newest entry of each collapse key. replace makes the
-- push's, if it is unread, one whose TTL has ended.
local function replace(j)
  local was = tonumber(redis.call('ZSCORE', KEYS[TOPIC + j], collapse) or 0)
  local meta = redis.call('HMGET', KEYS[META + j], 'i', 't')
  if was <= tonumber(meta[1] or 0) then return end
  local at = find(KEYS[INBOX + j], was)
  if not at then return end -- it was dropped
  redis.call('LSET', KEYS[INBOX + j], at, head(REF, was, 1))
  if was > tonumber(meta[2] or 0) then redis.call('HSET', KEYS[META + j], 't', was) end
end

-- newest makes what was appended at a position the newest of its key, and lets
-- go of topics whose entries were dropped.
local function newest(j, at)
  local topics = KEYS[TOPIC + j]
  redis.call('ZADD', topics, at, collapse)
  local oldest = struct.unpack('>I7', redis.call('LINDEX', KEYS[INBOX + j], 0), 2)
  redis.call('ZREMRANGEBYSCORE', topics, '-inf', '(' .. str(oldest))
  if forget > 0 then redis.call('PEXPIRE', topics, age) end
end

-- out[at][node] is what goes to a node's stream of the message at a position:
-- mostly there is one position.
local out = {}
local function tell(j, at, prev)
  local user = ARGV[USERS + j]
  local line = struct.pack('>I7B', prev, #user) .. user
  out[at] = out[at] or {}
  for _, node in ipairs(nodes[j]) do
    local lines = out[at][node]
    if not lines then
      lines = {head(flags, at, 0)}
      out[at][node] = lines
    end
    lines[#lines + 1] = line
  end
end

local common, newcomers = entry(id), 0
for j = 1, n do
  local inbox, at, line, prev = KEYS[INBOX + j], id, common, 0
  if overtaken or nodes[j] then
    local e = redis.call('LINDEX', inbox, -1)
    if e then prev = struct.unpack('>I7', e, 2) end
    if prev >= id then
      last = own(math.max(last, prev) + 1, share)
      at = last
      line = entry(at)
      if names ~= '' then
        note(at, string.sub(names, 1, 1) .. struct.pack('BB', 0, #ARGV[USERS + j]) .. ARGV[USERS + j], true)
      end
    end
  end
  if collapse ~= '' then replace(j) end
  local len = redis.call('RPUSH', inbox, line)
  if len == 1 then newcomers = newcomers + 1 end
  -- One more than is shown stays: it tells that something was dropped, and
  -- where the log ended when all of it is too old.
  if len > keep + 1 then
    redis.call('LTRIM', inbox, -keep - 1, -1)
  elseif len % 16 == 0 then
    for _ = 1, 32 do
      local second = redis.call('LINDEX', inbox, 1)
      if not second or struct.unpack('>I7', second, 2) >= first(time - age) then break end
      redis.call('LPOP', inbox)
    end
  end
  if ttl > 0 then redis.call('HSET', KEYS[META + j], 't', at) end
  if collapse ~= '' then newest(j, at) end
  if nodes[j] then tell(j, at, prev) end
  if struck[j] then
    local rest = {}
    for k, node in ipairs(struck[j]) do rest[k] = node .. '=' .. struck[j][node] end
    -- Who is nowhere any more is the beat's: it is an event.
    if rest[1] then redis.call('HSET', KEYS[4], ARGV[USERS + j], table.concat(rest, ',')) end
  end
end
redis.call('SET', KEYS[1], last)

local positions = {}
for at in pairs(out) do positions[#positions + 1] = at end
table.sort(positions)
for _, at in ipairs(positions) do
  for node, lines in pairs(out[at]) do
    redis.call('XADD', streams[node], 'MAXLEN', '~', maxlen, '*', fields('e', table.concat(lines), data, exclude, collapse))
  end
end

record = string.format('%.0f %d %d %.0f', id, chunk, chunks, body)
if forget > 0 then
  redis.call('SET', KEYS[2], record, 'PX', forget)
else
  redis.call('SET', KEYS[2], record)
end
return {0, id, n, online, present, newcomers}
