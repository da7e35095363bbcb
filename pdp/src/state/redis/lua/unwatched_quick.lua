-- The usual case of a call that nobody watches: budgets that have begun, whose oldest part is in
-- their window still, and that have room. It comes before the arithmetic of limits, because it has
-- to be quick: a script makes its functions anew each time that it runs. Nothing is changed before
-- it is certain that this is the usual case.
-- KEYS: 1 call, 2 all counters, 3.. limits
-- ARGV: 1 now_ms or -1, 2 peer and digest, 3 permits, 4 how the call stands then, 5 what is held,
--   6 stored verdict, 7 life of a stored call, 8 what only the other cases need, as one text because
--   every argument costs: JSON of call id, life of a lease, prefix of sessions, and burst and name of
--   each limit; 9.. four of each limit: kind, window, max, cost

local keys, argv, call = KEYS, ARGV, redis.call
local known = call('GET', keys[1])
if known then
  if known:sub(1, 1) == 'a' then return { 'abandoned' } end
  if known:sub(2, 1 + #argv[2]) == argv[2] then return { 'again', known } end
  return { 'reused' }
end

local now, format = now_ms(argv[1]), string.format
local usual, told = true, {}
-- What is written of each limit: the member of its part, the units there, the sum, and where a
-- part begins, when the oldest leaves, which is the latest and how long the key lasts.
local parts, units, sums, begins = {}, {}, {}, {}
local count = (#argv - 8) / 4
for i = 1, count do
  local at, key = 5 + i * 4, keys[2 + i]
  local kind, window, max, cost = argv[at], argv[at + 1] + 0, argv[at + 2] + 0, argv[at + 3] + 0
  local after, reset
  if kind == 'budget' then
    local part = window < 64 and 1 or (window - window % 64) / 64
    local start = now - now % part
    local ends, name = start + part + window, format('p%d', start)
    local head = call('HMGET', key, 's', 'e', 'l', name)
    if not head[1] or now >= head[2] + 0 then usual = false break end
    after, reset = head[1] + cost, head[3] + part + window
    if cost > 0 then
      parts[i], sums[i], units[i] = name, format('%d', after), format('%d', (head[4] or 0) + cost)
      if not head[4] then begins[i] = { format('%d', math.min(head[2], ends)), format('%d', math.max(head[3], start)), window + part + 60000 } end
    end
  elseif kind == 'period' then
    local held = call('GET', key)
    if not held or now >= window then usual = false break end
    after, reset = held + cost, held + 0 > 0 and window or now
    if cost > 0 then units[i] = argv[at + 3] end
  else
    usual = false
    break
  end
  if after > max then usual = false break end
  told[i] = format('1 %d %d 0', max - after, reset)
end

if usual then
  for i = 1, count do
    local key, begun = keys[2 + i], begins[i]
    if begun then
      call('HSET', key, 's', sums[i], parts[i], units[i], 'e', begun[1], 'l', begun[2])
      call('PEXPIRE', key, begun[3])
    elseif parts[i] then
      call('HSET', key, 's', sums[i], parts[i], units[i])
    elseif units[i] then
      call('INCRBY', key, units[i])
    end
  end
  told = table.concat(told, ';')
  call('SET', keys[1], kept(argv[4], argv[2], now, argv[3] == '1', told, argv[5], '', '', argv[6]), 'PX', argv[7])
  return { 'stored', told }
end
