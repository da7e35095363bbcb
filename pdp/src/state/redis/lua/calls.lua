-- How a decided call is stored: one text, of which the first letter says how it stands.
--   o: decided; q: decided, and only that it was never sent would change anything; s: settled;
--   a: given up, so that it cannot be decided any more.
-- After the letter: the peer and the digest, each behind its length and a colon; a line of numbers;
-- and the texts whose lengths that line tells: rooms, what is held, what counts for sessions, the
-- approval that is waited for. The verdict is last.

local function kept(how, who, now, permitted, rooms, held, seen, approval, verdict)
  return how .. who .. string.format('%d %d %d %d %d %d\n', now, permitted and 1 or 0, #rooms, #held, #seen, #approval)
    .. rooms .. held .. seen .. approval .. verdict
end

-- What a settlement needs of it: when it was decided, whether it was permitted, what it holds, and
-- what counts for sessions.
local function read_call(stored, peer)
  local length, from = stored:match('^(%d+):()', 2 + #peer)
  local taken, permitted, rooms, held, seen, at = stored:match('^(%d+) (%d) (%d+) (%d+) (%d+) %d+\n()', from + length)
  local after = at + rooms + held
  return tonumber(taken), permitted == '1', stored:sub(at + rooms, after - 1), stored:sub(after, after + seen - 1)
end
