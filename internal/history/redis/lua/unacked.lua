#!lua flags=allow-oom
-- Records which users in a list of recipients have not acked the message. The list
-- is taken off DUE in the same step: of several readers who come with the same
-- list, one records it.
--
-- These users have the message under the id own; its id for the sender is id.
-- Returns 1, or 0 if it was recorded before.
if redis.call('ZREM', DUE, stored_at) == 0 then return 0 end
if own < first_id(time - inbox_age) then return 1 end
redis.call('HSET', WATCH, 'keep', events_kept)

for j, user in ipairs(users) do
  if tonumber(redis.call('HGET', METAS[j], 'i') or 0) < own then
    local index, entry, length = find(INBOXES[j], own)
    if index and index >= length - keep and shown(read_head(entry)) then record(UNACKED, time, user, id, 0) end
  end
end
return 1
