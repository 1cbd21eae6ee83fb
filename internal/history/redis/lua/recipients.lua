#!lua flags=no-writes
-- Finds how a message was sent, and to which users of this partition.
--
-- Returns {outcome, …}. Outcomes: NOT_FOUND; TO_USERS, {list of recipients, "" or
-- the id under which these have it}, …; TO_ALL: it is a broadcast; OWN_ID, id: one
-- inbox has the message of that id under the id asked for.
local text = str(id)
if redis.call('XRANGE', LOG, text, text, 'COUNT', 1)[1] then
  local _, last_number = newest(LOG)
  local first, first_number = oldest(LOG)
  return {id <= last_hidden(first, first_number, last_number) and NOT_FOUND or TO_ALL}
end

if id < first_id(time - inbox_age) then return {NOT_FOUND} end
local out = {TO_USERS}
for _, entry in ipairs(redis.call('XRANGE', RECIPIENTS, text, text)) do
  local fields = read_fields(entry)
  if not fields.o then
    out[#out + 1] = {fields.u, ''}
  elseif fields.a then
    return {OWN_ID, fields.o}
  end
end
for _, at in ipairs(redis.call('ZRANGEBYSCORE', RECIPIENT_INDEX, id, id)) do
  for _, entry in ipairs(redis.call('XRANGE', RECIPIENTS, at, at)) do
    local fields = read_fields(entry)
    out[#out + 1] = {fields.u, fields.a and string.match(at, '^%d+') or ''}
  end
end
return out[2] and out or {NOT_FOUND}
