#!lua
-- Pages: the two logs of a view merged by id, for page.lua and attach.lua.

-- Each side of the merge has the id of the entry that is next, nil if there is
-- none; load returns its row, step goes on to the next that has not expired and
-- was not recalled. The inbox's has also whether there is a gap before it, and the
-- last entry before it, listed or not.
local BATCH = 16

local function inbox_side(at, stop, dir)
  local side = {id = nil, gap = false, last = 0}
  local batch, k, size = {}, 0, 0
  local e, flags, ends, from
  local function read()
    if (stop - at) * dir < 0 then return nil end
    if k == size then
      local to = at + (BATCH - 1) * dir
      if (to - stop) * dir > 0 then to = stop end
      batch = redis.call('LRANGE', INBOX, math.min(at, to), math.max(at, to))
      k, size = 0, #batch
    end
    k, at = k + 1, at + dir
    return batch[dir > 0 and k or size - k + 1]
  end
  function side.step()
    while true do
      side.last = side.id or side.last
      e = read()
      if not e then side.id = nil return end
      flags, side.id, from = struct.unpack('>BI7', e)
      if has(flags, TTL) then ends, from = struct.unpack('>I6', e, from) end
      local back = has(flags, MULTICAST) and recalled(RECALLED, side.id)
      if not back and (not has(flags, TTL) or ends > time) then return end
      side.gap = true
    end
  end
  local function tag()
    if not has(flags, COLLAPSE) then return '' end
    local at = has(flags, FAR) and from + 7 or from
    return string.sub(e, at, at + string.byte(e, at))
  end
  -- load returns the row and the size of its data, nil if the body is gone:
  -- retention was shorter once.
  function side.load()
    if not has(flags, REF) then return e, #e - from + 1 - #tag() end
    local body = side.id
    if has(flags, FAR) then body = struct.unpack('>I7', e, from) end
    local found = redis.call('XRANGE', BODIES, str(body), str(body), 'COUNT', 1)[1]
    if not found then return nil end
    local kind = has(flags, COLLAPSE) and MULTICAST + COLLAPSE or MULTICAST
    return struct.pack('>BI7', kind, side.id) .. tag() .. found[2][2], #found[2][2]
  end
  side.step()
  return side
end

local function log_side(at, stop, dir)
  local side = {id = nil}
  local batch, k = {}, 0
  local fields, collapse
  local function read()
    if (stop - at) * dir < 0 or at < log_first and dir < 0 then return nil end
    if k == #batch then
      if k > 0 and k < BATCH then return nil end -- that was all
      batch = dir > 0 and redis.call('XRANGE', LOG, str(at), str(stop), 'COUNT', BATCH)
        or redis.call('XREVRANGE', LOG, str(at), str(stop), 'COUNT', BATCH)
      k = 0
      if not batch[1] then return nil end
    end
    k = k + 1
    return batch[k]
  end
  function side.step()
    while true do
      local e = read()
      if not e then side.id = nil return end
      side.id = place(e)
      at, fields, collapse = side.id + dir, e[2], nil
      for i = 5, #fields, 2 do
        if fields[i] == 'c' then collapse = fields[i + 1] end
      end
      local over = #fields[2] >= 14 and expired(fields[2]) or collapse and redis.call('ZSCORE', EXPIRED, str(side.id))
      if not over and not recalled(RECALLED_LOG, side.id) then return end
    end
  end
  function side.load()
    if not collapse then return struct.pack('>BI7', BROADCAST, side.id) .. fields[4], #fields[4] end
    return struct.pack('>BI7', BROADCAST + COLLAPSE, side.id) .. tagged(collapse) .. fields[4], #fields[4]
  end
  side.step()
  return side
end

-- merge returns rows in the given direction, which of them have a gap before
-- them, and the id of the first that does not fit, nil if all do.
local function merge(a, b, dir, limit, most)
  local rows, gaps, sum = {}, {}, 0
  while true do
    local side = a
    if not a.id or b.id and (b.id - a.id) * dir < 0 then side = b end
    if not side.id or #rows == limit then return rows, gaps, side.id end
    local row, size = side.load()
    if row then
      sum = sum + size
      if rows[1] and most > 0 and sum > most then return rows, gaps, side.id end
      rows[#rows + 1] = row
      if side.gap then gaps[#gaps + 1] = #rows end
    end
    side.gap = not row
    side.step()
  end
end

-- forward returns the page after a cursor that lies at or before the heads:
-- {cursor's inbox id, broadcast id, more, truncated, rows, which of them have a
-- gap before them}.
local function forward(inbox, log, limit, most)
  local side = inbox_side(math.max(shown, inbox < inbox_head and search(shown, inbox + 1) or len), len - 1, 1)
  side.gap = side.gap or hidden > inbox
  local rows, gaps, rest = merge(side, log_side(math.max(log, log_hidden) + 1, log_head, 1), 1, limit, most)
  local truncated = (hidden > inbox or log_hidden > log) and 1 or 0
  if not rest then return {inbox_head, log_head, 0, truncated, rows, gaps} end
  -- Not behind where it began: the logs advance apart. In the inbox it is an entry
  -- where that is at hand, so that the next page is seen to join this one.
  local at = math.max(inbox, hidden, side.last)
  if at >= rest then at = math.max(inbox, math.min(inbox_head, rest - 1)) end
  return {at, math.max(log, math.min(log_head, rest - 1)), 1, truncated, rows, gaps}
end

-- backward returns the page below an id that ends above a cursor, newest first.
local function backward(before, inbox, log, limit, most)
  local stop = math.max(shown, inbox > 0 and search(shown, inbox + 1) or 0)
  local at = before > inbox_head and len - 1 or search(shown, before) - 1
  local rows, _, rest = merge(inbox_side(at, stop, -1),
    log_side(math.min(before - 1, log_head), math.max(log, log_hidden) + 1, -1), -1, limit, most)
  local below = math.max(0, before - 1)
  return {math.min(inbox_head, below), math.min(log_head, below), rest and 1 or 0, 0, rows, {}}
end
