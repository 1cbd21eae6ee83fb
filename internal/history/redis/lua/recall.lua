#!lua
-- Recalls a message from users of a partition, and tells the nodes where they are
-- connected.
--
-- A multicast's id goes into a set that all readers look into, and its body is
-- deleted if it is stored under that id: this costs the same for any number of
-- inboxes. An entry that one inbox alone has under its id (alone) is rewritten in
-- place, as one that has expired; then there is one user.
--
-- Returns DONE, or NEW_NODE: then nothing was done.

-- hide rewrites the entry in the user's inbox.
local function hide()
  local index, entry = find(INBOX, id)
  if not index then return end
  redis.call('LSET', INBOX, index, head(has(string.byte(entry), MULTICAST) and MULTICAST or 0, id, EXPIRED_LONG_AGO))
  redis.call('HSET', META, 't', math.max(tonumber(redis.call('HGET', META, 't') or 0), id))
end

-- delete_body deletes the body, unless the one at this id belongs to another
-- message. The stream of bodies must keep its last id: an empty body takes the
-- place of the newest.
local function delete_body()
  local at = str(id) .. '-0'
  local body = redis.call('XRANGE', BODIES, at, at)[1]
  if not body or read_fields(body).o then return end
  local newest_body = redis.call('XREVRANGE', BODIES, '+', '-', 'COUNT', 1)
  if newest_body[1] and newest_body[1][1] == at then redis.call('XADD', BODIES, str(id) .. '-1', 'd', '') end
  redis.call('XDEL', BODIES, at)
end

local streams, entries = streams_by_node(), {}
local where = locate(users, streams)
if not where then return NEW_NODE end
for j, user in ipairs(users) do
  if where[j] then address(entries, where[j], head(flags + RECALL, id, 0), 0, user) end
end
if alone then
  hide()
else
  redis.call('ZADD', RECALLED, id, str(id))
  redis.call('ZREMRANGEBYSCORE', RECALLED, '-inf', '(' .. str(first_id(time - inbox_age)))
  delete_body()
end
deliver(entries, streams, '', '', '')
return DONE
