-- DELIVERED_RANGES of a user are those of the inbox that were delivered, as package
-- history keeps them: the greatest end that a range has had, 7 bytes, then for each
-- range where it begins and ends, 7 bytes each, and when, 6; 0 if that is not known
-- any more. An entry is in a range if begin < id <= end.

-- shorten joins the first two neighbours that touch; if none do and there are more
-- than MAX_RANGES, the oldest is forgotten.
local function shorten(ranges)
  local from, to = struct.unpack('>I7I7', ranges, RANGES_HEAD + 1)
  for at = RANGES_HEAD + RANGE_SIZE + 1, #ranges, RANGE_SIZE do
    local next_from, next_to = struct.unpack('>I7I7', ranges, at)
    if from <= next_to and next_from <= to then
      local both = struct.pack('>I7I7I6', math.min(from, next_from), math.max(to, next_to), 0)
      return string.sub(ranges, 1, at - RANGE_SIZE - 1) .. both .. string.sub(ranges, at + RANGE_SIZE)
    end
    from, to = next_from, next_to
  end
  if #ranges <= RANGES_HEAD + RANGE_SIZE * MAX_RANGES then return ranges end
  return string.sub(ranges, 1, RANGES_HEAD) .. string.sub(ranges, RANGES_HEAD + RANGE_SIZE + 1)
end

-- add_range returns the ranges with what is new in another range, or nothing if
-- nothing is new.
local function add_range(ranges, from, to, at)
  local greatest = struct.unpack('>I7', ranges)
  if from < greatest then -- else none covers the beginning
    for i = RANGES_HEAD + 1, #ranges, RANGE_SIZE do
      local a, b = struct.unpack('>I7I7', ranges, i)
      if a <= from and from < b then from = b end
    end
  end
  if from >= to then return end
  local first, range = struct.pack('>I7', math.max(greatest, to)), struct.pack('>I7I7I6', from, to, at)
  if #ranges < RANGES_HEAD + RANGE_SIZE * MERGE_BEYOND then
    return first .. string.sub(ranges, RANGES_HEAD + 1) .. range
  end
  local a, b, _, a2, b2 = struct.unpack('>I7I7I6I7I7', ranges, RANGES_HEAD + 1)
  if a <= b2 and a2 <= b then -- the first two touch, as mostly: this copies less than shorten
    local both = struct.pack('>I7I7I6', math.min(a, a2), math.max(b, b2), 0)
    return first .. both .. string.sub(ranges, RANGES_HEAD + 2 * RANGE_SIZE + 1) .. range
  end
  return shorten(first .. string.sub(ranges, RANGES_HEAD + 1) .. range)
end

-- delivered_at returns when an entry was delivered first: -1 if it was not, 0 if
-- that is not known any more.
local function delivered_at(ranges, id)
  if not ranges or struct.unpack('>I7', ranges) < id then return -1 end
  for i = RANGES_HEAD + 1, #ranges, RANGE_SIZE do
    local from, to, at = struct.unpack('>I7I7I6', ranges, i)
    if from < id and id <= to then return at end
  end
  return -1
end
