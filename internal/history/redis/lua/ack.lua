#!lua
-- Moves a user's read mark forward, at most to the heads.
--
-- KEYS[9..12]: events, watch, moves of the read mark, tally. ARGV[6..9]: the mark
-- in the inbox, in the broadcast log, the user, how many moves are kept.
-- Returns how many messages are unread, -1 for a cursor that no head explains.
local inbox, log = clamp(tonumber(ARGV[6]), inbox_head), clamp(tonumber(ARGV[7]), log_head)
if not inbox or not log then return -1 end
local moved = inbox > mark or log > log_mark
local MOVES, TALLY, kept = KEYS[11], KEYS[12], tonumber(ARGV[9])

-- The last moves in the inbox: where the first began, 7 bytes, then of each
-- where it ended, 7 bytes, and when, 6.
if inbox > mark then
  local moves = redis.call('GET', MOVES) or struct.pack('>I7', mark)
  if #moves >= 7 + 13 * kept then moves = string.sub(moves, 8, 14) .. string.sub(moves, 21) end
  redis.call('SET', MOVES, moves .. struct.pack('>I7I6', inbox, time))
end

-- The tally says of how many users the mark lies at each broadcast: who has
-- acked one are all who stand there or later.
local function standing(id)
  if id < log_first then return 0 end
  local e = redis.call('XREVRANGE', LOG, str(id), '-', 'COUNT', 1)
  return e[1] and place(e[1]) or 0
end
if log > log_mark then
  local from, to = standing(log_mark), standing(log)
  if from ~= to then
    if from > 0 and redis.call('HINCRBY', TALLY, str(from), -1) <= 0 then redis.call('HDEL', TALLY, str(from)) end
    redis.call('HINCRBY', TALLY, str(to), 1)
    forget_gone(TALLY, LOG)
  end
end

mark, log_mark = math.max(mark, inbox), math.max(log_mark, log)
redis.call('HSET', META, 'i', mark, 'b', log_mark)
if moved and watched(KEYS[10], ACKED, time) then
  record(KEYS[9], KEYS[10], time, ACKED, time, ARGV[8], mark, log_mark)
end
return unread()
