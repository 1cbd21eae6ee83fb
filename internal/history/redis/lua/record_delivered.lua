#!lua flags=allow-oom
-- Adds ranges of inboxes to the delivered ranges of their users. If DELIVERED is
-- watched, it records an event for each entry that was not delivered before, and,
-- if deliveries before these were missed, an event of no kind: readers see a gap.
--
-- Returns DONE.
local record_events = watched(DELIVERED)
if missed and record_events then record(0, time, '', 0, 0) end

-- record_entries records an event for each entry that a range has and the ranges
-- before it do not. Entries that retention has dropped have none.
local function record_entries(j, before, from, to, at)
  local inbox, length = INBOXES[j], redis.call('LLEN', INBOXES[j])
  local first = math.max(from + 1, first_id(time - inbox_age))
  for index = search(inbox, first, math.max(0, length - keep), length), length - 1, PAGE_BATCH do
    for _, entry in ipairs(redis.call('LRANGE', inbox, index, index + PAGE_BATCH - 1)) do
      local id = id_of(entry)
      if id > to then return end
      if delivered_at(before, id) < 0 then
        record(DELIVERED, at > 0 and math.max(at, math.floor(id / IDS_PER_MS)) or time, users[j], id, 0)
      end
    end
  end
end

for j, range in ipairs(ranges) do
  local from, to, at = struct.unpack('>I7I7I6', range)
  local before = redis.call('GET', DELIVERED_RANGES[j]) or struct.pack('>I7', 0)
  local ranges = add_range(before, from, to, at)
  if ranges then
    if record_events then record_entries(j, before, from, to, at) end
    if forget > 0 then
      redis.call('SET', DELIVERED_RANGES[j], ranges, 'PX', forget)
    else
      redis.call('SET', DELIVERED_RANGES[j], ranges)
    end
  end
end
return DONE
