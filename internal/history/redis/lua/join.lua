#!lua flags=allow-oom
-- Makes a node known in a partition, under a number that was never used before,
-- and removes the number that it had until then.
--
-- Returns {server's run id, last broadcast's id, its number, numbers of living
-- nodes}.
call('ZADD', LEASES, server_time() + lease, node)
call('XADD', STREAM, '*', 'hello', '')
call('PEXPIRE', STREAM, LEASES_TO_KEEP * lease)
call('HSET', PRESENCE, probe_user(node), node .. '=1')
if old_node ~= '' then
  forget_node(old_node)
  call('DEL', OLD_STREAM)
end
local id, number = newest(LOG)
return {string.match(call('INFO', 'server'), 'run_id:(%x+)'), id, number, call('ZRANGE', LEASES, 0, -1)}
