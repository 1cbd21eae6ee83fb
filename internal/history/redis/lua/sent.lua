#!lua flags=no-writes
-- Finds how a message was sent, and to whom in this partition.
--
-- KEYS: notes, moved, broadcast log.
-- ARGV: clock, id, age of inboxes in ms, broadcasts that are shown, their age in
-- ms.
-- Returns {outcome, …}; outcome 0: there is no such message; 1: it went to
-- users, {users as noted, "" or the id that these have it under}, … follow; 2:
-- it is a broadcast; 3: it is another message in one inbox, whose id follows.
local time, id = now(ARGV[1]), tonumber(ARGV[2])

local e = redis.call('XRANGE', KEYS[3], str(id), str(id), 'COUNT', 1)
if e[1] then
  local _, bn = place(e[1])
  local _, last = top(KEYS[3])
  if bn <= last - tonumber(ARGV[4]) or id < first(time - tonumber(ARGV[5])) then return {0} end
  return {2}
end

if id < first(time - tonumber(ARGV[3])) then return {0} end
local out = {1}
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], str(id), str(id))) do
  local f = read_fields(entry)
  if not f.o then
    out[#out + 1] = {f.u, ''}
  elseif f.a then
    return {3, f.o}
  end
end
for _, at in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], id, id)) do
  for _, entry in ipairs(redis.call('XRANGE', KEYS[1], at, at)) do
    local f = read_fields(entry)
    out[#out + 1] = {f.u, f.a and string.match(at, '^%d+') or ''}
  end
end
if not out[2] then return {0} end
return out
