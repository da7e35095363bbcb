-- Forgets what is held of a limit with one key.
-- KEYS: 1 all counters, 2 when limits were emptied
-- ARGV: 1 now_ms or -1, 2 from, 3 to, 4 how many at once, 5 prefix of sessions, 6 how long it is
--   known that they were emptied

local now = now_ms(ARGV[1])
local names = redis.call('ZRANGEBYLEX', KEYS[1], ARGV[2], ARGV[3], 'LIMIT', 0, ARGV[4])
local count = 0
for _, name in ipairs(names) do
  local limit, session, there = counted(name, ARGV[5])
  if there then
    if limit.kind == 'budget' and limit.window < 0 then
      redis.call('HDEL', session, 'q:' .. limit.key)
    else
      redis.call('DEL', limit.key)
    end
    redis.call('HSET', KEYS[2], limit.key, string.format('%.0f', now))
    redis.call('PEXPIRE', KEYS[2], ARGV[6])
    count = count + 1
  end
  redis.call('ZREM', KEYS[1], name)
end
return { count, #names }
