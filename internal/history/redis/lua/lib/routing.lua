-- The streams of nodes. An entry there is a head, then for each
-- recipient 7 bytes id of the entry before it in the user's inbox, 1 byte length,
-- and the user. An ack has an entry of another kind: 7 bytes id of the newest message
-- that was there, 7 bytes each of the two ids of the read mark, 4 bytes number of
-- unread messages, and the user.

-- streams_by_node returns the streams that the caller knows of.
local function streams_by_node()
  local streams = {}
  for j, node in ipairs(nodes) do streams[node] = STREAMS[j] end
  return streams
end

-- locate finds where users are connected. It returns for the j-th user, if
-- connected, the nodes; how many connections the users have; how many users have
-- one; and for the j-th user the living nodes where PRESENCE also names dead ones.
-- It returns nil if a node lives whose stream the caller does not know.
local function locate(users, streams)
  local where, sum, present, stale = {}, 0, 0, {}
  for j, value in ipairs(redis.call('HMGET', PRESENCE, unpack(users))) do
    if value then
      local nodes, count, dead = connections(value)
      for _, node in ipairs(nodes) do
        if not streams[node] then return nil end
      end
      if nodes[1] then where[j], sum, present = nodes, sum + count, present + 1 end
      if dead then stale[j] = nodes end
    end
  end
  return where, sum, present, stale
end

-- address adds a user to the entries that go to some nodes. head begins an entry,
-- prev is the id before it in the user's inbox.
local function address(entries, nodes, head, prev, user)
  local recipient = struct.pack('>I7B', prev, #user) .. user
  for _, node in ipairs(nodes) do
    local entry = entries[node]
    if entry then entry[#entry + 1] = recipient else entries[node] = {head, recipient} end
  end
end

-- deliver appends entries to the streams of their nodes.
local function deliver(entries, streams, data, exclude, collapse)
  for node, entry in pairs(entries) do
    redis.call('XADD', streams[node], 'MAXLEN', '~', backlog, '*',
      message_fields('e', table.concat(entry), data, exclude, collapse))
  end
end

-- deliver_ack appends an ack to the stream of a node.
local function deliver_ack(stream, head, mark, log_mark, unread, user, exclude)
  redis.call('XADD', stream, 'MAXLEN', '~', backlog, '*',
    'a', struct.pack('>I7I7I7I4', head, mark, log_mark, unread) .. user, 'x', exclude)
end
