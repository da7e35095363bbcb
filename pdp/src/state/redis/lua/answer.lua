-- Writes an approval that was answered, unless somebody else changed it meanwhile.
-- KEYS: 1 approval
-- ARGV: 1 revision that was read, 2 who agreed, 3 who refused, 4 whether it is met

if redis.call('HGET', KEYS[1], 'rev') ~= ARGV[1] or redis.call('HGET', KEYS[1], 'used') ~= '0' then return 0 end
redis.call('HSET', KEYS[1], 'by', ARGV[2], 'denied', ARGV[3], 'met', ARGV[4])
redis.call('HINCRBY', KEYS[1], 'rev', 1)
return 1
