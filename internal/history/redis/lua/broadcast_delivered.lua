#!lua
-- Counts the connections that broadcasts went to, of those that the log keeps.
for j, id in ipairs(ids) do
  if redis.call('XRANGE', LOG, id, id, 'COUNT', 1)[1] then redis.call('HINCRBY', BROADCAST_DELIVERIES, id, counts[j]) end
end
forget_dropped(BROADCAST_DELIVERIES)
return DONE
