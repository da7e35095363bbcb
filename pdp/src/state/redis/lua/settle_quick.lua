-- What became of a call, taken once and only from the peer that asked. This comes before the
-- arithmetic of limits: most settlements change nothing but that they were made.
-- KEYS: 1 call, 2 when limits were emptied
-- ARGV: 1 now_ms or -1, 2 peer behind its length, 3 outcome, 4 life of a stored call, 5 in one text,
--   because every argument costs: tokens sent, of them cached, tokens that came back, of them
--   reasoning, millionths of a dollar used, short id of the call, digest of what came back, short,
--   or '0', call id

local begins = redis.call('GETRANGE', KEYS[1], 0, #ARGV[2])
if begins == '' then
  if ARGV[3] ~= 'not_sent' then return 'unknown' end
  -- A decision that comes late must not be usable.
  redis.call('SET', KEYS[1], 'a', 'PX', ARGV[4])
  return 'done'
end
local how = begins:sub(1, 1)
if how == 'a' then return 'twice' end
if begins:sub(2) ~= ARGV[2] then return 'not_yours' end
if how == 's' then return 'twice' end
-- What is given back cannot be decided a second time.
redis.call('SETRANGE', KEYS[1], 0, ARGV[3] == 'not_sent' and 'a' or 's')
if how == 'q' and ARGV[3] ~= 'not_sent' then return 'done' end
