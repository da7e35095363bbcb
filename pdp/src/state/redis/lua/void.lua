-- Closes the sessions of somebody who is revoked, and voids their approvals.
-- KEYS: 1 sessions that were opened by them, 2 all approvals
-- ARGV: 1 now_ms or -1, 2 kind, 3 id, 4 prefix of sessions, 5 prefix of tails,
--   6 of recent calls, 7 of pending calls, 8 of approvals, 9 what stands in place of who refused

local now = now_ms(ARGV[1])
local kind, id = ARGV[2], ARGV[3]
local sessions, approvals = 0, 0

local function close(session)
  local head = redis.call('HMGET', ARGV[4] .. session, 'k', 'e')
  -- An implicit session stays: what it counted must not be forgotten.
  if head[1] ~= 'o' then return end
  if tonumber(head[2]) > now then sessions = sessions + 1 end
  redis.call('DEL', ARGV[4] .. session, ARGV[5] .. session, ARGV[6] .. session, ARGV[7] .. session)
end

if kind == 'session' then
  close(id)
else
  for _, session in ipairs(redis.call('SMEMBERS', KEYS[1])) do close(session) end
  redis.call('DEL', KEYS[1])
end

local function concerns(record)
  local bound = record.binding
  if kind == 'session' then return bound.session == id end
  if kind == 'user' then return bound.subject == id end
  if kind == 'credential' then return record.opened.credential == id end
  if kind ~= 'agent' then return false end
  for _, actor in ipairs(bound.delegation) do
    if actor == id then return true end
  end
  return bound.agent == id or bound.subject == id
end

for _, approval in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
  local key = ARGV[8] .. approval
  local seen = redis.call('HMGET', key, 'record', 'denied', 'used', 'expires')
  local open = seen[1] and seen[2] == '' and seen[3] == '0' and tonumber(seen[4]) > now
  if open and concerns(cjson.decode(seen[1])) then
    redis.call('HSET', key, 'denied', ARGV[9])
    redis.call('HINCRBY', key, 'rev', 1)
    approvals = approvals + 1
  end
end
return { sessions, approvals }
