-- MARK_MOVES of a user are the last moves of the read mark in the inbox: where the
-- first began, 7 bytes, then for each where it ended, 7 bytes, and when, 6.

-- save_mark_move adds a move; the oldest makes room for it.
local function save_mark_move(from, to)
  local moves = redis.call('GET', MARK_MOVES) or struct.pack('>I7', from)
  if #moves >= MOVES_HEAD + MOVE_SIZE * ACKS_KEPT then
    moves = string.sub(moves, MOVES_HEAD + 1, 2 * MOVES_HEAD) .. string.sub(moves, MOVES_HEAD + MOVE_SIZE + 1)
  end
  redis.call('SET', MARK_MOVES, moves .. struct.pack('>I7I6', to, time))
end

-- acked_at returns when the read mark came to an entry: -1 if it has not, 0 if that
-- is not known any more.
local function acked_at(mark, moves, id)
  if tonumber(mark or 0) < id then return -1 end
  if not moves or struct.unpack('>I7', moves) >= id then return 0 end
  for at = MOVES_HEAD + 1, #moves, MOVE_SIZE do
    local to, moved_at = struct.unpack('>I7I6', moves, at)
    if to >= id then return moved_at end
  end
  return 0
end
