#!lua flags=allow-oom
-- Adds ranges of inboxes to the delivered ranges of their users.
--
-- Returns DONE.
for j, range in ipairs(ranges) do
  local from, to, at = struct.unpack('>I7I7I6', range)
  local kept = add_range(call('GET', DELIVERED_RANGES[j]) or struct.pack('>I7', 0), from, to, at)
  if kept and forget > 0 then
    call('SET', DELIVERED_RANGES[j], kept, 'PX', forget)
  elseif kept then
    call('SET', DELIVERED_RANGES[j], kept)
  end
end
return DONE
