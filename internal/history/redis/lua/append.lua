#!lua
-- Appends one message to the inboxes of some users of a partition, and to the
-- streams of the nodes where they are connected.
--
-- A push to many users comes as several chunks, in order, over one connection.
-- The push's record says how far it has come. So a retry continues where the first
-- try broke off, and stores nothing twice.
--
-- Returns {outcome, id, users, their connections, users who have connections,
-- users whose first entry it is}. Outcomes: DONE; DUPLICATE; NEW_NODE and GAP,
-- when the chunk before this one is missing: then nothing was done.

-- The push's record, if it was begun before.
local body = 0
local earlier, done, all, earlier_body = earlier_push()
if earlier then
  if done == all or done >= chunk then return {DUPLICATE, earlier, 0, 0, 0, 0} end
  id, body = earlier, earlier_body
end
if chunk > (done or 0) + 1 then return {GAP, 0, 0, 0, 0, 0} end

local streams = streams_by_node()
local where, online_connections, online_users, stale = locate(users, streams)
if not where then return {NEW_NODE, 0, 0, 0, 0, 0} end

-- An id that was chosen in another partition or by an earlier chunk may be below
-- the last one by now: then an inbox may have a later entry. If it is still the
-- last one, as mostly for a later chunk, no inbox has.
local last = tonumber(redis.call('GET', LAST_ID) or 0)
if id == 0 then id = next_id(last) end
local overtaken = id < last
local oldest_kept = first_id(time - inbox_age)

-- trim_index takes some members with scores below the given one out of a ZSET.
local function trim_index(zset, below)
  local gone = redis.call('ZRANGEBYSCORE', zset, '-inf', '(' .. str(below), 'LIMIT', 0, INDEX_TRIM)
  if gone[1] then redis.call('ZREM', zset, unpack(gone)) end
end

-- save_recipients stores a list of recipients, for recalls and receipts, and
-- schedules the check for users who have not acked. The stream takes only rising
-- ids: a list that comes late is stored at the end, and RECIPIENT_INDEX finds it by
-- the message's id. If own is true, these users have the message under the id at.
local function save_recipients(at, list, own)
  local fields = {'u', list}
  if at ~= id then
    fields[#fields + 1], fields[#fields + 2] = 'o', str(id)
    if own then fields[#fields + 1], fields[#fields + 2] = 'a', '' end
  end
  local stored_at = redis.call('XADD', RECIPIENTS, 'MINID', '~', str(oldest_kept), str(at) .. '-*', unpack(fields))
  if at ~= id then
    redis.call('ZADD', RECIPIENT_INDEX, id, stored_at)
    trim_index(RECIPIENT_INDEX, oldest_kept)
  end
  if unacked_after > 0 then
    redis.call('ZADD', DUE, math.floor(id / IDS_PER_MS) + unacked_after, stored_at)
    trim_index(DUE, time - inbox_age)
    -- After that time the messages are gone.
    if forget > 0 then redis.call('PEXPIRE', DUE, inbox_age) end
  end
end
if recipients ~= '' then save_recipients(math.max(id, last), recipients, false) end

if not overtaken then last = id end
local expires = ttl > 0 and math.floor(id / IDS_PER_MS) + ttl or 0

if not inline and body == 0 then
  -- The stream of bodies takes only rising ids. A body at another id than the
  -- message's says which message it belongs to.
  body = id
  local newest_body = redis.call('XREVRANGE', BODIES, '+', '-', 'COUNT', 1)
  if newest_body[1] then body = math.max(id, position(newest_body[1]) + 1) end
  local owner = body ~= id and {'o', str(id)} or {}
  redis.call('XADD', BODIES, 'MINID', '~', str(oldest_kept), str(body) .. '-0', 'd', data, unpack(owner))
end

-- entry_at returns what is put into an inbox under an id.
local key_part = ''
if collapse ~= '' then flags, key_part = flags + COLLAPSE, with_length(collapse) end
local function entry_at(at)
  if inline then return head(flags, at, expires) .. key_part .. data end
  if body == at then return head(flags + REF, at, expires) .. key_part end
  return head(flags + REF + FAR, at, expires) .. struct.pack('>I7', body) .. key_part
end

local expire_replaced, index_collapse
if collapse ~= '' then -- most pushes do not need these functions
  -- expire_replaced makes the entry that has this collapse key an expired one, if
  -- it is unread.
  function expire_replaced(j)
    local replaced = tonumber(redis.call('ZSCORE', COLLAPSE_INDEXES[j], collapse) or 0)
    local meta = redis.call('HMGET', METAS[j], 'i', 't')
    if replaced <= tonumber(meta[1] or 0) then return end
    local index = find(INBOXES[j], replaced)
    if not index then return end -- it was dropped
    redis.call('LSET', INBOXES[j], index, head(REF, replaced, EXPIRED_LONG_AGO))
    if replaced > tonumber(meta[2] or 0) then redis.call('HSET', METAS[j], 't', replaced) end
  end

  -- index_collapse makes the new entry the newest with its collapse key, and
  -- forgets the keys of entries that were dropped.
  function index_collapse(j, at)
    redis.call('ZADD', COLLAPSE_INDEXES[j], at, collapse)
    redis.call('ZREMRANGEBYSCORE', COLLAPSE_INDEXES[j], '-inf', '(' .. str(id_of(redis.call('LINDEX', INBOXES[j], 0))))
    if forget > 0 then redis.call('PEXPIRE', COLLAPSE_INDEXES[j], inbox_age) end
  end
end

-- entries[at] is what goes to nodes of the message under an id: mostly there is
-- one id.
local entries, common, newcomers = {}, entry_at(id), 0
for j, user in ipairs(users) do
  local inbox, at, entry, prev = INBOXES[j], id, common, 0
  if overtaken or where[j] then
    local before = redis.call('LINDEX', inbox, -1)
    if before then prev = id_of(before) end
    if prev >= id then
      last = own_id(math.max(last, prev) + 1)
      at = last
      entry = entry_at(at)
      if recipients ~= '' then
        save_recipients(at, string.sub(recipients, 1, 1) .. struct.pack('BB', 0, #user) .. user, true)
      end
    end
  end
  if collapse ~= '' then expire_replaced(j) end
  local length = redis.call('RPUSH', inbox, entry)
  if length == 1 then newcomers = newcomers + 1 end
  -- One entry more than is shown stays: it tells that entries were dropped, and
  -- where the inbox ended when all of it is too old.
  if length > keep + 1 then
    redis.call('LTRIM', inbox, -keep - 1, -1)
  elseif length % TRIM_EVERY == 0 then
    for _ = 1, 2 * TRIM_EVERY do
      local second = redis.call('LINDEX', inbox, 1)
      if not second or id_of(second) >= oldest_kept then break end
      redis.call('LPOP', inbox)
    end
  end
  if ttl > 0 then redis.call('HSET', METAS[j], 't', at) end
  if collapse ~= '' then index_collapse(j, at) end
  if where[j] then
    entries[at] = entries[at] or {}
    address(entries[at], where[j], head(flags, at, 0), prev, user)
  end
  -- A user without any connection is left to the heartbeat, which records the
  -- disconnect.
  if stale[j] and where[j] then redis.call('HSET', PRESENCE, user, presence_of(where[j])) end
end
redis.call('SET', LAST_ID, last)

local ids = {}
for at in pairs(entries) do ids[#ids + 1] = at end
table.sort(ids)
for _, at in ipairs(ids) do deliver(entries[at], streams, data, exclude, collapse) end

save_push(id, chunk, chunks, body)
return {DONE, id, #users, online_connections, online_users, newcomers}
