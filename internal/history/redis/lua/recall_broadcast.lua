#!lua
-- Recalls a broadcast in one partition, and tells the nodes whose streams are
-- given. Its entry stays, since entries are numbered; it counts as expired.
--
-- Returns DONE; NEW_NODE if a node lives whose stream is not given although others
-- are, and GAP if this copy of the log does not have the broadcast yet: then
-- nothing was done.
if newest(LOG) < id then return GAP end
local streams, entries = streams_by_node(), {}
if tell_nodes then
  for _, node in ipairs(living_nodes()) do
    if not streams[node] then return NEW_NODE end
    entries[node] = {head(BROADCAST + RECALL, id, 0)}
  end
end

redis.call('ZADD', RECALLED_LOG, id, str(id))
redis.call('ZREM', EXPIRIES, str(id))
redis.call('ZADD', EXPIRED, id, str(id))
redis.call('ZREMRANGEBYSCORE', RECALLED_LOG, '-inf', '(' .. str((oldest(LOG))))
deliver(entries, streams, '', '', '')
return DONE
