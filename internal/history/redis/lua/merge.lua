#!lua
-- Pages: the two logs of a view merged by id, for page.lua and attach.lua.

-- Each side of the merge has the id of its next entry, nil if there is none; load
-- returns that entry's row, and step moves to the next entry that is shown. The
-- inbox's side also says whether there is a gap before its entry, and has the id of
-- the last entry that it passed, shown or not.

local function inbox_side(at, stop, dir)
  local side = {id = nil, gap = false, passed = 0}
  local batch, k, size = {}, 0, 0
  local entry, flags, rest
  local function read()
    if (stop - at) * dir < 0 then return nil end
    if k == size then
      local to = at + (PAGE_BATCH - 1) * dir
      if (to - stop) * dir > 0 then to = stop end
      batch = redis.call('LRANGE', INBOX, math.min(at, to), math.max(at, to))
      k, size = 0, #batch
    end
    k, at = k + 1, at + dir
    return batch[dir > 0 and k or size - k + 1]
  end
  function side.step()
    while true do
      side.passed = side.id or side.passed
      entry = read()
      if not entry then side.id = nil return end
      local expires
      flags, side.id, expires, rest = read_head(entry)
      if shown(flags, side.id, expires) then return end
      side.gap = true
    end
  end
  local function key_part()
    if not has(flags, COLLAPSE) then return '' end
    local from = rest
    if has(flags, FAR) then _, from = struct.unpack('>I7', entry, rest) end
    return string.sub(entry, from, from + string.byte(entry, from))
  end
  -- load returns the row and the size of its data, nil if the body is gone:
  -- retention was shorter once.
  function side.load()
    if not has(flags, REF) then return entry, #entry - rest + 1 - #key_part() end
    local body = side.id
    if has(flags, FAR) then body = struct.unpack('>I7', entry, rest) end
    local found = redis.call('XRANGE', BODIES, str(body), str(body), 'COUNT', 1)[1]
    if not found then return nil end
    local kind = has(flags, COLLAPSE) and MULTICAST + COLLAPSE or MULTICAST
    local data = found[2][2]
    return head(kind, side.id, 0) .. key_part() .. data, #data
  end
  side.step()
  return side
end

local function log_side(at, stop, dir)
  local side = {id = nil}
  local batch, k = {}, 0
  local data, collapse
  local function read()
    if (stop - at) * dir < 0 or at < log_first and dir < 0 then return nil end
    if k == #batch then
      if k > 0 and k < PAGE_BATCH then return nil end -- that was all
      batch = redis.call(dir > 0 and 'XRANGE' or 'XREVRANGE', LOG, str(at), str(stop), 'COUNT', PAGE_BATCH)
      k = 0
      if not batch[1] then return nil end
    end
    k = k + 1
    return batch[k]
  end
  function side.step()
    while true do
      local entry = read()
      if not entry then side.id = nil return end
      side.id = position(entry)
      at = side.id + dir
      local _, first, _, body, more = unpack(entry[2])
      data, collapse = body, more and read_fields(entry).c
      local _, _, expires = read_head(first)
      local over = expires > 0 and expires <= time or collapse and redis.call('ZSCORE', EXPIRED, str(side.id))
      if not over and not recalled(RECALLED_LOG, side.id) then return end
    end
  end
  function side.load()
    if not collapse then return head(BROADCAST, side.id, 0) .. data, #data end
    return head(BROADCAST + COLLAPSE, side.id, 0) .. with_length(collapse) .. data, #data
  end
  side.step()
  return side
end

-- merge returns rows in the given direction, which of them have a gap before
-- them, and the id of the first that does not fit, nil if all do.
local function merge(a, b, dir)
  local rows, gaps, sum = {}, {}, 0
  while true do
    local side = a
    if not a.id or b.id and (b.id - a.id) * dir < 0 then side = b end
    if not side.id or #rows == limit then return rows, gaps, side.id end
    local row, size = side.load()
    if row then
      sum = sum + size
      if rows[1] and max_bytes > 0 and sum > max_bytes then return rows, gaps, side.id end
      rows[#rows + 1] = row
      if side.gap then gaps[#gaps + 1] = #rows end
    end
    side.gap = not row
    side.step()
  end
end

-- forward returns the page after a cursor that lies at or before the heads:
-- {cursor's inbox id, broadcast id, 1 if there is more, 1 if truncated, rows, which
-- of them have a gap before them}.
local function forward(inbox, log)
  local side = inbox_side(inbox < inbox_head and search(INBOX, inbox + 1, first_shown, length) or length, length - 1, 1)
  side.gap = side.gap or hidden > inbox
  local rows, gaps, rest = merge(side, log_side(math.max(log, log_hidden) + 1, log_head, 1), 1)
  local truncated = (hidden > inbox or log_hidden > log) and 1 or 0
  if not rest then return {inbox_head, log_head, 0, truncated, rows, gaps} end
  -- Each log's cursor stays at or after its beginning, since the logs advance
  -- separately. The inbox's cursor is an entry's id if possible, so that the next
  -- page is seen to join this one.
  local at = math.max(inbox, hidden, side.passed)
  if at >= rest then at = math.max(inbox, math.min(inbox_head, rest - 1)) end
  return {at, math.max(log, math.min(log_head, rest - 1)), 1, truncated, rows, gaps}
end

-- backward returns the page below an id that ends above a cursor, newest first.
local function backward(before, inbox, log)
  local stop = inbox > 0 and search(INBOX, inbox + 1, first_shown, length) or first_shown
  local at = (before > inbox_head and length or search(INBOX, before, first_shown, length)) - 1
  local rows, _, rest = merge(inbox_side(at, stop, -1),
    log_side(math.min(before - 1, log_head), math.max(log, log_hidden) + 1, -1), -1)
  local below = math.max(0, before - 1)
  return {math.min(inbox_head, below), math.min(log_head, below), rest and 1 or 0, 0, rows, {}}
end
