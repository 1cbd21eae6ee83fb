#!lua
-- Adds spans of inboxes that were delivered to the trails of their users, as
-- Trail.Add of package history does.
--
-- A trail is the greatest end that a span of it has had, 7 bytes, then of each
-- span where it begins and ends, 7 bytes each, and when, 6; 0 if that is not
-- known any more.
--
-- KEYS: of each span, the user's trail. ARGV: how many spans are kept as they are,
-- how many where something lies between them, after how many ms Redis may drop a
-- trail that nothing is added to, 0 for never, then the spans. Returns 1.
local pack, unpack, sub = struct.pack, struct.unpack, string.sub
local TOP, SPAN = 7, 20
local full, most, forget = TOP + SPAN * ARGV[1], TOP + SPAN * ARGV[2], tonumber(ARGV[3])

-- shorten makes the first two neighbours that touch one; if none do and there are
-- too many, the oldest is forgotten.
local function shorten(trail)
  local from, to = unpack('>I7I7', trail, TOP + 1)
  for at = TOP + SPAN + 1, #trail, SPAN do
    local from2, to2 = unpack('>I7I7', trail, at)
    if from <= to2 and from2 <= to then
      local both = pack('>I7I7I6', math.min(from, from2), math.max(to, to2), 0)
      return sub(trail, 1, at - SPAN - 1) .. both .. sub(trail, at + SPAN)
    end
    from, to = from2, to2
  end
  if #trail <= most then return trail end
  return sub(trail, 1, TOP) .. sub(trail, TOP + SPAN + 1)
end

-- add returns the trail with what is new in a span, false if nothing is.
local function add(trail, from, to, time)
  local top = unpack('>I7', trail)
  if from < top then -- else none covers where it begins
    for at = TOP + 1, #trail, SPAN do
      local a, b = unpack('>I7I7', trail, at)
      if a <= from and from < b then from = b end
    end
  end
  if from >= to then return false end
  top = math.max(top, to)
  local span = pack('>I7I7I6', from, to, time)
  if #trail < full then return pack('>I7', top) .. sub(trail, TOP + 1) .. span end
  local a, b, _, a2, b2 = unpack('>I7I7I6I7I7', trail, TOP + 1)
  if a <= b2 and a2 <= b then -- the first two touch, as mostly: no more is copied than must be
    return pack('>I7I7I7I6', top, math.min(a, a2), math.max(b, b2), 0) .. sub(trail, TOP + 2 * SPAN + 1) .. span
  end
  return shorten(pack('>I7', top) .. sub(trail, TOP + 1) .. span)
end

for j = 1, #KEYS do
  local trail = add(redis.call('GET', KEYS[j]) or pack('>I7', 0), unpack('>I7I7I6', ARGV[3 + j]))
  if trail and forget > 0 then
    redis.call('SET', KEYS[j], trail, 'PX', forget)
  elseif trail then
    redis.call('SET', KEYS[j], trail)
  end
end
return 1
