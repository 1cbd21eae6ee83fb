-- Records of pushes, by idempotency key: "id chunks-done chunks-in-all body".

-- earlier_push returns id, chunks done, chunks in all and body of an earlier push
-- with this key, nothing if there was none or it is not remembered any more.
local function earlier_push()
  local push = call('GET', PUSH)
  if not push then return end
  local id, done, chunks, body = string.match(push, '^(%d+) (%d+) (%d+) (%d+)$')
  if time < math.floor(id / IDS_PER_MS) + remember then
    return tonumber(id), tonumber(done), tonumber(chunks), tonumber(body)
  end
end

-- save_push records how far a push has come.
local function save_push(id, done, chunks, body)
  local push = string.format('%.0f %d %d %.0f', id, done, chunks, body)
  if forget > 0 then call('SET', PUSH, push, 'PX', forget) else call('SET', PUSH, push) end
end

-- touch_push writes the record of an earlier push again: a WAIT behind it then
-- also waits for what the earlier call wrote.
local function touch_push() call('SET', PUSH, call('GET', PUSH), 'KEEPTTL') end
