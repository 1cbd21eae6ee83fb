#!lua
-- Counts the connections that broadcasts went to, of those that the log keeps.
--
-- KEYS: counts, broadcast log. ARGV: id and number, … Returns 1.
for j = 1, #ARGV, 2 do
  if redis.call('XRANGE', KEYS[2], ARGV[j], ARGV[j], 'COUNT', 1)[1] then redis.call('HINCRBY', KEYS[1], ARGV[j], ARGV[j + 1]) end
end
forget_gone(KEYS[1], KEYS[2])
return 1
