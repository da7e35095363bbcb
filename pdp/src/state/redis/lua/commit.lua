-- Everything that one decision changes, at once or not at all.
-- KEYS: 1 call, 2 session, 3 tail, 4 approvals bound to this very call, 5 all approvals,
--   6 recent calls, 7 pending calls, 8 habit, 9 all counters, 10.. limits, and after them, where an
--   opened session counts for an implicit one too: that one, its tail, recent and pending calls
-- ARGV: 1 now_ms or -1, 2 peer and digest, each behind its length, 3 permits, 4 version or '',
--   5 implicit, 6 resource, 7 stored verdict, 8 asks that it rests on, 9 marks, 10 integrity,
--   11 confidentiality, 12 life of a stored call, 13 idle life of an implicit session,
--   14 longest tail, 15 life of a lease, 16 call id, 17 prefix of approvals, 18 id of the approval
--   to open or '', 19 its record, 20 its asks, 21 its parts, 22 its public form, 23 its expiry,
--   24 how long it is kept, 25 the call's short id, 26 what is called, 27 how many recent calls,
--   28 how many pending, 29 what it may cost, 30 its prices or 'money', 31 life of a habit,
--   32 time in which the present rate forgets, 33 and the usual one, 34 prefix of sessions,
--   35 what is held, 36.. six of each limit: kind, window, max, cost, burst, name

local now = now_ms(ARGV[1])
local known = redis.call('GET', KEYS[1])
if known then
  if known:sub(1, 1) == 'a' then return { 'abandoned' } end
  if known:sub(2, 1 + #ARGV[2]) == ARGV[2] then return { 'again', known } end
  return { 'reused' }
end

local permits = ARGV[3] == '1'
-- How a session stands; one that is over is not there.
local function standing(at)
  local head = redis.call('HMGET', at.session, 'v', 'e', 'i', 'c')
  local expires = tonumber(head[2] or '')
  if not expires or expires > now then return head end
  redis.call('DEL', at.session, at.tail, at.recent, at.pending)
  return {}
end

local here = { session = KEYS[2], tail = KEYS[3], recent = KEYS[6], pending = KEYS[7] }
local head = standing(here)
local version, expires = tonumber(head[1] or '') or 0, tonumber(head[2] or '')
if not expires and ARGV[5] == '0' then return { 'unknown' } end

local function granted(approval)
  local seen = redis.call('HMGET', approval, 'met', 'denied', 'used', 'expires', 'asks')
  local given = seen[1] == '1' and seen[2] == '' and seen[3] == '0' and tonumber(seen[4]) > now
  return given and cjson.decode(seen[5]) or {}
end

local using = {}
if permits then
  if ARGV[4] ~= '' and tonumber(ARGV[4]) ~= version then return { 'stale' } end
  local missing = {}
  for _, ask in ipairs(cjson.decode(ARGV[8])) do missing[ask] = true end
  if next(missing) then
    local wanted = {}
    for ask in pairs(missing) do wanted[ask] = true end
    for _, id in ipairs(redis.call('SMEMBERS', KEYS[4])) do
      for _, ask in ipairs(granted(ARGV[17] .. id)) do
        if wanted[ask] then
          missing[ask] = nil
          using[ARGV[17] .. id] = true
        end
      end
    end
    if next(missing) then return { 'stale' } end
  end
end

-- Whether anything is kept of a limit.
local function begun(limit)
  if limit.kind == 'budget' and limit.window < 0 then return redis.call('HEXISTS', KEYS[2], 'q:' .. limit.key) == 1 end
  return redis.call('EXISTS', limit.key) == 1
end

local rooms, short = {}, false
if permits then
  local limits = {}
  for i = 36, #ARGV, 6 do
    local key = KEYS[10 + (i - 36) / 6]
    local limit = { kind = ARGV[i], window = tonumber(ARGV[i + 1]), max = tonumber(ARGV[i + 2]), cost = tonumber(ARGV[i + 3]), burst = tonumber(ARGV[i + 4]), key = key, name = ARGV[i + 5] }
    local found = room[limit.kind](limit, now, KEYS[2])
    short = short or not found[1]
    table.insert(limits, limit)
    table.insert(rooms, string.format('%d %.0f %.0f %.0f', found[1] and 1 or 0, found[2], found[3], found[4]))
  end
  if not short then
    for _, limit in ipairs(limits) do
      local there = begun(limit)
      take[limit.kind](limit, now, KEYS[2], ARGV[16], tonumber(ARGV[15]))
      if not there then list_counter(KEYS[9], limit.name, ARGV[34]) end
    end
  end
end

-- A permitted call counts at once.
local function count(at, head, implicit)
  local version, until_ms = (tonumber(head[1] or '') or 0) + 1, tonumber(head[2] or '')
  local integrity = math.max(tonumber(head[3] or '') or 1, tonumber(ARGV[10]))
  local confidentiality = math.max(tonumber(head[4] or '') or 0, tonumber(ARGV[11]))
  if not until_ms then redis.call('HSET', at.session, 'k', 'i') end
  if implicit then until_ms = now + tonumber(ARGV[13]) end
  redis.call('HSET', at.session, 'v', version, 'e', until_ms, 'i', integrity, 'c', confidentiality)
  if ARGV[6] ~= '' then
    redis.call('HINCRBY', at.session, 'n:' .. ARGV[6], 1)
    redis.call('RPUSH', at.tail, ARGV[6])
    redis.call('LTRIM', at.tail, -tonumber(ARGV[14]), -1)
    redis.call('PEXPIREAT', at.tail, until_ms)
  end
  for _, mark in ipairs(cjson.decode(ARGV[9])) do redis.call('HSETNX', at.session, 'm:' .. mark, version) end
  redis.call('PEXPIREAT', at.session, until_ms)
  local spent = growth(function() return redis.call('HGET', at.session, 'd') end, tonumber(ARGV[29]))
  if spent > 0 then redis.call('HINCRBY', at.session, 'd', spent) end

  -- What the signals are made of.
  redis.call('RPUSH', at.recent, table.concat({ ARGV[25], ARGV[26], string.format('%.0f', now), '0' }, ' '))
  redis.call('LTRIM', at.recent, -tonumber(ARGV[27]), -1)
  redis.call('ZREMRANGEBYSCORE', at.pending, '-inf', now)
  redis.call('ZREMRANGEBYRANK', at.pending, 0, -tonumber(ARGV[28]))
  redis.call('ZADD', at.pending, now + tonumber(ARGV[12]), ARGV[16] .. '\n' .. ARGV[6])
  redis.call('PEXPIREAT', at.recent, until_ms)
  redis.call('PEXPIREAT', at.pending, until_ms)
end

local permitted = permits and not short
local after = 10 + #rooms
local beside = { session = KEYS[after], tail = KEYS[after + 1], recent = KEYS[after + 2], pending = KEYS[after + 3] }
if permitted then
  count(here, head, ARGV[5] == '1')
  if beside.session then count(beside, standing(beside), true) end
  local habit = redis.call('HMGET', KEYS[8], 'last', 'present', 'usual')
  if habit[1] then
    local last = tonumber(habit[1])
    local passed = math.max(0, now - last)
    local present = tonumber(habit[2]) * math.exp(-passed / tonumber(ARGV[32])) + 1
    local usual = tonumber(habit[3]) * math.exp(-passed / tonumber(ARGV[33])) + 1
    redis.call('HSET', KEYS[8], 'last', string.format('%.0f', math.max(last, now)),
      'present', string.format('%.17g', present), 'usual', string.format('%.17g', usual))
    redis.call('HINCRBY', KEYS[8], 'calls', 1)
  else
    redis.call('HSET', KEYS[8], 'since', string.format('%.0f', now), 'last', string.format('%.0f', now), 'calls', 1, 'present', 1, 'usual', 1)
  end
  redis.call('PEXPIRE', KEYS[8], ARGV[31])
  for approval in pairs(using) do redis.call('HSET', approval, 'used', '1') end
end

local approval = ''
if ARGV[18] ~= '' then
  for _, id in ipairs(redis.call('SMEMBERS', KEYS[4])) do
    local seen = redis.call('HMGET', ARGV[17] .. id, 'met', 'denied', 'used', 'expires', 'parts', 'public')
    local waits = seen[1] == '0' and seen[2] == '' and seen[3] == '0' and tonumber(seen[4]) > now
    if waits and seen[5] == ARGV[21] then approval = seen[6] end
  end
  if approval == '' then
    approval = ARGV[22]
    local key, gone = ARGV[17] .. ARGV[18], tonumber(ARGV[23]) + tonumber(ARGV[24])
    redis.call('HSET', key, 'record', ARGV[19], 'opened', now, 'by', '[]', 'denied', '', 'used', '0', 'met', '0',
      'expires', ARGV[23], 'asks', ARGV[20], 'parts', ARGV[21], 'public', ARGV[22], 'bound', KEYS[4], 'rev', 0)
    redis.call('PEXPIREAT', key, gone)
    redis.call('SADD', KEYS[4], ARGV[18])
    redis.call('PEXPIREAT', KEYS[4], gone)
    redis.call('ZADD', KEYS[5], now, ARGV[18])
  end
end

local told = table.concat(rooms, ';')
local held, seen = '', ''
if permitted then
  held = ARGV[35]
  seen = cmsgpack.pack({ here, beside.session and beside or false, ARGV[6], tonumber(ARGV[29]), ARGV[30] })
end
redis.call('SET', KEYS[1], kept('o', ARGV[2], now, permitted, told, held, seen, approval, ARGV[7]), 'PX', ARGV[12])
return { 'stored', told, approval }
