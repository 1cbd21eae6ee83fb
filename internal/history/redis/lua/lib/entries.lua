-- Entries of inboxes. Rows of a page have the same layout:
--   1 byte flags, 7 bytes id, [TTL: 6 bytes time when it expires], [FAR: 7 bytes id
--   of the body], [COLLAPSE: 1 byte length, collapse key], data unless it is a REF

-- has says whether flags contain one flag.
local function has(flags, flag) return flags % (2 * flag) >= flag end

-- head returns the first bytes of an entry; expires is 0 for never.
local function head(flags, id, expires)
  if expires > 0 then return struct.pack('>BI7I6', flags + TTL, id, expires) end
  return struct.pack('>BI7', flags, id)
end

-- read_head returns flags, id, when the entry expires, 0 for never, and where the
-- rest begins.
local function read_head(entry)
  local flags, id, rest = struct.unpack('>BI7', entry)
  if not has(flags, TTL) then return flags, id, 0, rest end
  local expires, after = struct.unpack('>I6', entry, rest)
  return flags, id, expires, after
end

local function id_of(entry) return (struct.unpack('>I7', entry, 2)) end

-- with_length returns a collapse key as it stands in an entry.
local function with_length(key) return string.char(#key) .. key end

-- search returns the index of the first entry of an inbox from lo on, and before
-- hi, with at least this id; hi if there is none.
local function search(inbox, id, lo, hi)
  while lo < hi do
    local mid = math.floor((lo + hi) / 2)
    if id_of(redis.call('LINDEX', inbox, mid)) < id then lo = mid + 1 else hi = mid end
  end
  return lo
end

-- find returns the index of the entry with this id, the entry, and the length of
-- the inbox; nothing if the inbox has no such entry.
local function find(inbox, id)
  local len = redis.call('LLEN', inbox)
  local at = search(inbox, id, 0, len)
  local entry = redis.call('LINDEX', inbox, at)
  if entry and id_of(entry) == id then return at, entry, len end
end

-- set_exists caches which sets of recalled messages exist: mostly none does.
local set_exists = {}

-- recalled says whether a message is in a set of recalled ones.
local function recalled(set, id)
  if set_exists[set] == nil then set_exists[set] = redis.call('EXISTS', set) == 1 end
  return set_exists[set] and redis.call('ZSCORE', set, str(id)) ~= false
end

-- shown says whether readers see an entry that retention keeps: it has not expired
-- and was not recalled.
local function shown(flags, id, expires)
  if expires > 0 and expires <= time then return false end
  return not (has(flags, MULTICAST) and recalled(RECALLED, id))
end
