#!lua
-- What attach.lua and register.lua share.

local real, alive = now(''), {}

-- register sets how many connections a node holds of a user, in the presence
-- of all nodes ("node=connections,…") and in the node's sum. It strikes out
-- nodes whose lease has ended, and returns how many connections there are.
local function register(presence, counts, leases, node, user, count)
  local was, sum, list = 0, count, {}
  for other, c in string.gmatch(redis.call('HGET', presence, user) or '', '(%w+)=(%d+)') do
    if other == node then
      was = tonumber(c)
    else
      if alive[other] == nil then
        alive[other] = tonumber(redis.call('ZSCORE', leases, other) or 0) > real
      end
      if alive[other] then list[#list + 1], sum = other .. '=' .. c, sum + c end
    end
  end
  if count > 0 then list[#list + 1] = node .. '=' .. count end
  if list[1] then
    redis.call('HSET', presence, user, table.concat(list, ','))
  else
    redis.call('HDEL', presence, user)
  end
  if count ~= was then
    redis.call('HINCRBY', counts, node, count - was)
    if count == 0 or was == 0 then redis.call('HINCRBY', counts, users(node), count == 0 and -1 or 1) end
  end
  return sum
end
