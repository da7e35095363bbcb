-- Counters of which something is held.
-- KEYS: 1 all counters
-- ARGV: 1 now_ms or -1, 2 from, 3 to, 4 whether one key is wanted, 5 that key, 6 how many are told,
--   7 how many are looked at, 8 prefix of sessions

local now = now_ms(ARGV[1])
local names = redis.call('ZRANGEBYLEX', KEYS[1], ARGV[2], ARGV[3], 'LIMIT', 0, ARGV[7])
local told, found, last = {}, 0, ''
for i, name in ipairs(names) do
  local limit, session, there, parts = counted(name, ARGV[8])
  if not there then
    redis.call('ZREM', KEYS[1], name)
  elseif ARGV[4] == '0' or parts[2] == ARGV[5] then
    local seen = room[limit.kind](limit, now, session)
    if seen[3] > now then
      table.insert(told, name)
      table.insert(told, string.format('%.0f', seen[2]))
      table.insert(told, string.format('%.0f', seen[3]))
      found = found + 1
    end
  end
  if found == tonumber(ARGV[6]) or i == tonumber(ARGV[7]) then
    last = name
    break
  end
end
table.insert(told, 1, last)
return told
