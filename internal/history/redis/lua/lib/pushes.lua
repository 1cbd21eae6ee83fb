-- Records of pushes, by idempotency key: "id chunks-done chunks-in-all body".

-- earlier_push returns id, chunks done, chunks in all and body of an earlier push
-- with this key, nothing if there was none or it is not remembered any more. It
-- writes the record again: a WAIT behind it then also waits for what the earlier
-- call wrote.
local function earlier_push()
  local push = redis.call('GET', PUSH)
  if not push then return end
  local id, done, chunks, body = string.match(push, '^(%d+) (%d+) (%d+) (%d+)$')
  if time < math.floor(id / IDS_PER_MS) + remember then
    redis.call('SET', PUSH, push, 'KEEPTTL')
    return tonumber(id), tonumber(done), tonumber(chunks), tonumber(body)
  end
end

-- save_push records how far a push has come.
local function save_push(id, done, chunks, body)
  local push = string.format('%.0f %d %d %.0f', id, done, chunks, body)
  if forget > 0 then redis.call('SET', PUSH, push, 'PX', forget) else redis.call('SET', PUSH, push) end
end
