-- A settlement that changes more; what it is given stands in settle_quick.lua.

local now = now_ms(ARGV[1])
local taken, permitted, held, seen = read_call(redis.call('GET', KEYS[1]), ARGV[2])
local here, beside, resource, reserved, prices
if seen ~= '' then here, beside, resource, reserved, prices = unpack(cmsgpack.unpack(seen)) end
local session = here and here.session
local input, cached, output, reasoning, money, short, result, call =
  ARGV[5]:match('^(%d+) (%d+) (%d+) (%d+) (%d+) (%S+) (%S+) (.*)$')
input, output, money = tonumber(input), tonumber(output), tonumber(money)
cached, reasoning = math.min(input, tonumber(cached)), math.min(output, tonumber(reasoning))

-- What a budget of this unit was drawn on by; nil where it was as reserved.
local function used_of(unit)
  if unit == 'tokens' then return math.min(NEVER, input + output) end
  if unit == 'money' then return money end
  local a, b, c, d = unit:match('^(%d+)/(%d+)/(%d+)/(%d+)$')
  if not a then return nil end
  local sum = (input - cached) * a + cached * b + (output - reasoning) * c + reasoning * d
  return math.min(NEVER, math.ceil(sum / 1000000))
end

for text in held:gmatch('[^;]+') do
  local kind, key, window, max, cost, refund, unit = text:match('(%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+)')
  local limit = { kind = kind, key = key, window = tonumber(window), max = tonumber(max), cost = tonumber(cost) }
  local back = ARGV[3] == 'not_sent' or (ARGV[3] == 'failed' and refund == '1')
  local used = used_of(unit)
  if emptied(KEYS[2], key, taken) then
    -- An operator emptied it: nothing of this call is in it any more.
  elseif back or kind == 'concurrent' then
    give[kind](limit, limit.cost, session, taken, call)
  elseif ARGV[3] ~= 'failed' and used and (kind == 'budget' or kind == 'period') then
    local more = used - limit.cost
    -- Where nobody saw the end, what was seen is the least that was used.
    if ARGV[3] == 'unknown' then more = math.max(0, more) end
    local there = limit.window >= 0 or redis.call('EXISTS', session) == 1
    if more > 0 and there then
      add(limit, now, session, more)
    elseif more < 0 then
      give[kind](limit, -more, session, taken)
    end
  end
end

if not permitted or not here then return 'done' end
local spent = 0
if ARGV[3] == 'unknown' then spent = math.max(reserved, used_of(prices)) end
if ARGV[3] == 'done' then spent = used_of(prices) end

local function settled(at)
  local session, calls = at.session, at.recent
  if redis.call('EXISTS', session) == 0 then return end
  redis.call('ZREM', at.pending, call .. '\n' .. resource)
  local recent = redis.call('LRANGE', calls, 0, -1)
  for i = #recent, 1, -1 do
    local id, what, at = recent[i]:match('(%S+) (%S+) (%S+)')
    if id == short then
      redis.call('LSET', calls, i - 1, table.concat({ id, what, at, result }, ' '))
      break
    end
  end

  -- Corrects what the session has spent. More than was reserved makes decisions stale that were
  -- made before it was known.
  if spent ~= reserved then
    local before = tonumber(redis.call('HGET', session, 'd') or '0')
    redis.call('HSET', session, 'd', string.format('%.0f', math.min(NEVER, math.max(0, before - reserved) + spent)))
  end
  if spent > reserved then redis.call('HINCRBY', session, 'v', 1) end

  -- A call that was never sent does not count for its session.
  if ARGV[3] == 'not_sent' then
    redis.call('HINCRBY', session, 'v', 1)
    if resource ~= '' then
      if redis.call('HINCRBY', session, 'n:' .. resource, -1) <= 0 then redis.call('HDEL', session, 'n:' .. resource) end
      redis.call('LREM', at.tail, -1, resource)
    end
  end
end

settled(here)
if beside then settled(beside) end
return 'done'
