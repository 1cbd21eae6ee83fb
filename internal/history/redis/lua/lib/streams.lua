-- Streams: broadcast logs, what nodes must deliver, lists of recipients.

-- position reads the id of a stream's entry, "time-number" or "id-number".
local function position(entry)
  local id, number = string.match(entry[1], '^(%d+)-(%d+)$')
  return tonumber(id), tonumber(number)
end

-- newest returns the position of a stream's last entry, 0 and 0 if it is empty.
local function newest(stream)
  local last = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)
  if last[1] then return position(last[1]) end
  return 0, 0
end

-- oldest returns the position of a stream's first entry, nothing if it is empty.
local function oldest(stream)
  local first = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)
  if first[1] then return position(first[1]) end
end

-- message_fields returns the fields of a message in a stream. field and value come
-- first; exclude is the connection that does not get it live.
local function message_fields(field, value, data, exclude, collapse)
  local list = {field, value, 'd', data}
  if exclude ~= '' then list[#list + 1], list[#list + 2] = 'x', exclude end
  if collapse ~= '' then list[#list + 1], list[#list + 2] = 'c', collapse end
  return unpack(list)
end

-- read_fields returns the fields of a stream's entry by name.
local function read_fields(entry)
  local fields = {}
  for i = 1, #entry[2], 2 do fields[entry[2][i]] = entry[2][i + 1] end
  return fields
end
