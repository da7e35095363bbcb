-- The arithmetic of limits, the same as in counter.rs; one test suite holds both equal.
-- Numbers are doubles: every amount and time stays below 2^53, which the caller sees to.

local NEVER = 9007199254740991
local PARTS = 64
local PERIOD_KEPT = 86400000

local function part_ms(limit)
  return math.max(1, math.floor(limit.window / PARTS))
end

local function part_start(limit, now)
  return now - now % part_ms(limit)
end

local function part_end(limit, start)
  return start + part_ms(limit) + limit.window
end

-- Units held in a sliding window, and the start of its latest part. `e` is when the oldest part
-- leaves: until then the running sum is exact and no part has to be read.
local function sliding(limit, now)
  local head = redis.call('HMGET', limit.key, 's', 'e', 'l')
  local sum, oldest, latest = tonumber(head[1]), tonumber(head[2]), tonumber(head[3])
  if not sum then return 0, nil end
  if now < oldest then return sum, latest end
  sum, oldest, latest = 0, NEVER, nil
  local parts = redis.call('HGETALL', limit.key)
  for i = 1, #parts, 2 do
    local start = parts[i]:sub(1, 1) == 'p' and tonumber(parts[i]:sub(2))
    if start then
      local units, ends = tonumber(parts[i + 1]), part_end(limit, start)
      if ends <= now then
        redis.call('HDEL', limit.key, parts[i])
      else
        sum = sum + units
        oldest = math.min(oldest, ends)
        latest = math.max(latest or start, start)
      end
    end
  end
  if not latest then
    redis.call('DEL', limit.key)
    return 0, nil
  end
  redis.call('HSET', limit.key, 's', sum, 'e', oldest, 'l', latest)
  return sum, latest
end

-- Until enough parts have left that the cost fits.
local function sliding_wait(limit, now, excess)
  local ends = {}
  local parts = redis.call('HGETALL', limit.key)
  for i = 1, #parts, 2 do
    local start = parts[i]:sub(1, 1) == 'p' and tonumber(parts[i]:sub(2))
    if start then table.insert(ends, { part_end(limit, start), tonumber(parts[i + 1]) }) end
  end
  table.sort(ends, function(a, b) return a[1] < b[1] end)
  for _, part in ipairs(ends) do
    excess = excess - part[2]
    if excess <= 0 then return math.max(1, part[1] - now) end
  end
  return 0
end

-- Time that one unit takes, rounded up: a rate never gives more than it says, and no unit is free.
local function emission_us(limit)
  return math.max(1, math.ceil(limit.window * 1000 / math.max(1, limit.max)))
end

-- What is left and when: {fits, remaining, reset_ms, retry_after_ms}.
local room = {}

function room.rate(limit, now)
  local now_us = now * 1000
  local emission = emission_us(limit)
  local burst = emission * limit.burst
  local wanted = emission * limit.cost
  local tat = tonumber(redis.call('GET', limit.key) or '') or now_us
  local from = math.max(tat, now_us)
  local fits = limit.max > 0 and from + wanted - now_us <= burst
  local held = fits and from + wanted or from
  local free = math.max(0, burst - (held - now_us))
  local wait = 0
  if not fits and limit.max > 0 and wanted <= burst then
    wait = math.max(1, math.ceil((from + wanted - now_us - burst) / 1000))
  end
  limit.next = held
  return { fits, math.floor(free / math.max(1, emission)), math.ceil(held / 1000), wait }
end

function room.budget(limit, now, session)
  local held, latest
  if limit.window < 0 then
    held = tonumber(redis.call('HGET', session, 'q:' .. limit.key) or '0')
  else
    held, latest = sliding(limit, now)
  end
  local after = held + limit.cost
  local fits = after <= limit.max
  local reset = now
  if limit.window < 0 then
    if held > 0 then reset = NEVER end
  elseif latest then
    reset = part_end(limit, latest)
  end
  local wait = 0
  if not fits and limit.window >= 0 and limit.cost <= limit.max then
    wait = sliding_wait(limit, now, after - limit.max)
  end
  return { fits, math.max(0, limit.max - (fits and after or held)), reset, wait }
end

-- A window of the calendar: one number, in a key that holds when it begins and ends.
function room.period(limit, now)
  local held = tonumber(redis.call('GET', limit.key) or '0')
  local after = held + limit.cost
  local fits = after <= limit.max
  local wait = 0
  if not fits and limit.cost <= limit.max then wait = math.max(1, limit.window - now) end
  return { fits, math.max(0, limit.max - (fits and after or held)), held > 0 and limit.window or now, wait }
end

function room.concurrent(limit, now)
  redis.call('ZREMRANGEBYSCORE', limit.key, '-inf', now)
  local held = redis.call('ZCARD', limit.key)
  local fits = held < limit.max
  local reset, wait = now, 0
  if held > 0 then
    reset = tonumber(redis.call('ZREVRANGE', limit.key, 0, 0, 'WITHSCORES')[2])
    if not fits then
      wait = math.max(1, tonumber(redis.call('ZRANGE', limit.key, 0, 0, 'WITHSCORES')[2]) - now)
    end
  end
  -- Whoever only looks takes no place.
  local taken = fits and limit.cost > 0 and 1 or 0
  return { fits, math.max(0, limit.max - held - taken), reset, wait }
end

-- What a sum may grow by so that it stays exact; small amounts are not worth the question.
local function growth(held, units)
  if units < 4294967296 then return units end
  return math.min(units, math.max(0, NEVER - (tonumber(held() or '') or 0)))
end

local function add(limit, now, session, units)
  units = growth(function()
    if limit.kind == 'period' then return redis.call('GET', limit.key) end
    if limit.window < 0 then return redis.call('HGET', session, 'q:' .. limit.key) end
    return redis.call('HGET', limit.key, 's')
  end, units)
  if units <= 0 then return end
  if limit.kind == 'period' then
    redis.call('INCRBY', limit.key, units)
    -- By the clock of another decision point it may not be over yet.
    redis.call('PEXPIREAT', limit.key, math.max(limit.window, now) + PERIOD_KEPT)
    return
  end
  if limit.window < 0 then
    redis.call('HINCRBY', session, 'q:' .. limit.key, units)
    return
  end
  local start = part_start(limit, now)
  local ends = part_end(limit, start)
  redis.call('HINCRBY', limit.key, 'p' .. string.format('%.0f', start), units)
  redis.call('HINCRBY', limit.key, 's', units)
  -- Time may have run back: the oldest part need not be the first that came.
  local head = redis.call('HMGET', limit.key, 'e', 'l')
  local oldest, latest = tonumber(head[1] or '') or ends, tonumber(head[2] or '') or start
  redis.call('HSET', limit.key, 'e', math.min(oldest, ends), 'l', math.max(latest, start))
  redis.call('PEXPIRE', limit.key, limit.window + part_ms(limit) + 60000)
end

local take = {}

function take.rate(limit, now)
  redis.call('SET', limit.key, string.format('%.0f', limit.next), 'PX', math.ceil((limit.next - now * 1000) / 1000) + 60000)
end

function take.budget(limit, now, session)
  add(limit, now, session, limit.cost)
end

take.period = take.budget

function take.concurrent(limit, now, _, call, lease)
  redis.call('ZADD', limit.key, now + lease, call)
  redis.call('PEXPIRE', limit.key, lease + 60000)
end

local give = {}

function give.rate(limit, units)
  local tat = tonumber(redis.call('GET', limit.key) or '')
  if tat then
    local emission = emission_us(limit)
    redis.call('SET', limit.key, string.format('%.0f', tat - emission * units), 'KEEPTTL')
  end
end

-- Gives back units of the part that they were taken in; a part that has left holds nothing more.
function give.budget(limit, units, session, taken)
  local key, field = limit.key, 'p' .. string.format('%.0f', part_start(limit, taken))
  if limit.window < 0 then key, field = session, 'q:' .. limit.key end
  local held = tonumber(redis.call('HGET', key, field) or '')
  if not held then return end
  local back = math.min(held, units)
  if back <= 0 then return end
  if back < held then
    redis.call('HINCRBY', key, field, -back)
  else
    redis.call('HDEL', key, field)
  end
  if limit.window >= 0 then
    redis.call('HINCRBY', key, 's', -back)
    -- A part is gone: the next reader counts anew.
    if back == held then redis.call('HSET', key, 'e', 0) end
  end
end

function give.period(limit, units)
  local held = tonumber(redis.call('GET', limit.key) or '0')
  local back = math.min(held, units)
  if back > 0 then redis.call('DECRBY', limit.key, back) end
end

function give.concurrent(limit, _, _, _, call)
  redis.call('ZREM', limit.key, call)
end

-- === the list of counters ===

-- The limit that a name stands for, its session, and whether anything is kept of it still.
local function counted(name, sessions)
  local parts = cjson.decode(name)
  local limit = { kind = parts[4], window = parts[6], max = parts[8], burst = parts[9], cost = 0, key = parts[10] }
  local session = sessions .. parts[3]
  if limit.kind == 'budget' and limit.window < 0 then
    return limit, session, redis.call('HEXISTS', session, 'q:' .. limit.key) == 1, parts
  end
  return limit, session, redis.call('EXISTS', limit.key) == 1, parts
end

-- Puts a counter that begins on the list, and takes two that are over from it where chance finds
-- them: so the list stays about as long as there are counters.
local function list_counter(all, name, sessions)
  redis.call('ZADD', all, 0, name)
  for _, other in ipairs(redis.call('ZRANDMEMBER', all, 2)) do
    local _, _, there = counted(other, sessions)
    if not there then redis.call('ZREM', all, other) end
  end
end

-- Whether an operator emptied a limit after a call took of it.
local function emptied(resets, key, taken)
  local at = redis.call('HGET', resets, key)
  return at and taken <= tonumber(at)
end
