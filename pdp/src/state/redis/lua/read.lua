-- What a decision reads.
-- KEYS: 1 session, 2 tail, 3 approvals bound to this very call, 4 recent calls, 5 pending calls, 6 habit
-- ARGV: 1 now_ms or -1, 2 prefix of approvals

local now = now_ms(ARGV[1])
local asks = {}
for _, id in ipairs(redis.call('SMEMBERS', KEYS[3])) do
  local seen = redis.call('HMGET', ARGV[2] .. id, 'met', 'denied', 'used', 'expires', 'asks')
  if seen[1] == '1' and seen[2] == '' and seen[3] == '0' and tonumber(seen[4]) > now then
    table.insert(asks, seen[5])
  end
end
local habit = redis.call('HMGET', KEYS[6], 'since', 'last', 'calls', 'present', 'usual')
if not habit[1] then habit = {} end
local session = redis.call('HGETALL', KEYS[1])
for i = 1, #session, 2 do
  if session[i] == 'e' and tonumber(session[i + 1]) <= now then session = {} end
end
if #session == 0 then return { string.format('%.0f', now), {}, {}, asks, {}, {}, habit } end
return { string.format('%.0f', now), session, redis.call('LRANGE', KEYS[2], 0, -1), asks, redis.call('LRANGE', KEYS[4], 0, -1),
  redis.call('ZRANGEBYSCORE', KEYS[5], '(' .. string.format('%.0f', now), '+inf'), habit }
