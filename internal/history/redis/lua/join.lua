#!lua flags=allow-oom
-- Makes a node known in a partition, under a number that was never used before,
-- and removes the number that it had until then.
--
-- Returns {server's run id, last broadcast's id, its number, numbers of living
-- nodes}.
redis.call('ZADD', LEASES, server_time() + lease, node)
redis.call('XADD', STREAM, '*', 'hello', '')
redis.call('PEXPIRE', STREAM, LEASES_TO_KEEP * lease)
redis.call('HSET', PRESENCE, probe_user(node), node .. '=1')
if old_node ~= '' then
  forget_node(old_node)
  redis.call('DEL', OLD_STREAM)
end
local id, number = newest(LOG)
return {string.match(redis.call('INFO', 'server'), 'run_id:(%x+)'), id, number, redis.call('ZRANGE', LEASES, 0, -1)}
