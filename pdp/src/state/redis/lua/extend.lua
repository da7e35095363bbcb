-- A permitted call goes on: what it holds and what is stored of it begin their time anew.
-- KEYS: 1 call, 2 when limits were emptied
-- ARGV: 1 now_ms or -1, 2 peer behind its length, 3 life of a stored call, 4 life of a lease, 5 call id

local now = now_ms(ARGV[1])
local stored = redis.call('GET', KEYS[1])
if not stored then return 'unknown' end
local how = stored:sub(1, 1)
if how == 'a' then return 'twice' end
if stored:sub(2, 1 + #ARGV[2]) ~= ARGV[2] then return 'not_yours' end
if how == 's' then return 'twice' end

redis.call('PEXPIRE', KEYS[1], ARGV[3])
local taken, _, held, seen = read_call(stored, ARGV[2])
for text in held:gmatch('[^;]+') do
  local kind, key = text:match('(%S+) (%S+)')
  if kind == 'concurrent' and not emptied(KEYS[2], key, taken) then
    take.concurrent({ key = key }, now, nil, ARGV[5], tonumber(ARGV[4]))
  end
end
if seen == '' then return 'done' end
local here, beside, resource = unpack(cmsgpack.unpack(seen))
local waits = ARGV[5] .. '\n' .. resource
for _, at in ipairs({ here, beside or nil }) do
  if redis.call('ZSCORE', at.pending, waits) then redis.call('ZADD', at.pending, now + tonumber(ARGV[3]), waits) end
end
return 'done'
