-- An opened session goes on, with everything that it did.
-- KEYS: 1 session, 2 tail, 3 recent calls, 4 pending calls
-- ARGV: 1 now_ms or -1, 2 when it ends

local now = now_ms(ARGV[1])
local head = redis.call('HMGET', KEYS[1], 'k', 'e', 'o')
if head[1] ~= 'o' or tonumber(head[2]) <= now then return 0 end
local ends = math.max(tonumber(head[2]), tonumber(ARGV[2]))
local text = string.format('%.0f', ends)
redis.call('HSET', KEYS[1], 'e', text)
for _, key in ipairs(KEYS) do redis.call('PEXPIREAT', key, text) end
-- By whose revocation it ends must be known as long as it lasts.
for owned in (head[3] or ''):gmatch('[^\n]+') do redis.call('PEXPIREAT', owned, text) end
return 1
