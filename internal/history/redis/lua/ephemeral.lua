#!lua
-- Writes a message that is not kept to the streams of the nodes where some users
-- of a partition are connected; with no users, to those of all nodes. Nothing else
-- is written but the last id.
--
-- Returns {outcome, id, connections of the users, users who have connections}.
-- Outcomes: DONE; NEW_NODE: nothing was done.
local streams, where, sum, present = streams_by_node(), {}, 0, 0
local everybody = not users[1]
if everybody then
  for _, node in ipairs(living_nodes()) do
    if not streams[node] then return {NEW_NODE, 0, 0, 0} end
  end
  sum, present = online()
else
  where, sum, present = locate(users, streams)
  if not where then return {NEW_NODE, 0, 0, 0} end
end

if id == 0 then
  id = next_id(tonumber(redis.call('GET', LAST_ID) or 0))
  redis.call('SET', LAST_ID, id)
end
local entries = {}
if everybody then
  for _, node in ipairs(living_nodes()) do entries[node] = {head(flags, id, 0)} end
end
for j, user in ipairs(users) do
  if where[j] then address(entries, where[j], head(flags, id, 0), 0, user) end
end
deliver(entries, streams, data, exclude, '')
return {DONE, id, sum, present}
