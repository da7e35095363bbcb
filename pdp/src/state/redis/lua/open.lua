-- A session begins, as confidential as the implicit session of the same principal.
-- KEYS: 1 session, 2 implicit session, 3.. sessions that end when somebody is revoked, by whom
-- ARGV: 1 id, 2 when it ends, 3 integrity, 4 keys of those sessions

local confidentiality = tonumber(redis.call('HGET', KEYS[2], 'c') or '') or 0
redis.call('HSET', KEYS[1], 'v', 1, 'e', ARGV[2], 'i', ARGV[3], 'c', confidentiality, 'k', 'o', 'o', ARGV[4])
redis.call('PEXPIREAT', KEYS[1], ARGV[2])
-- Sessions last equally long, so the newest is the last to go.
for i = 3, #KEYS do
  redis.call('SADD', KEYS[i], ARGV[1])
  redis.call('PEXPIREAT', KEYS[i], ARGV[2])
end
return 1
