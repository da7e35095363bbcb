-- Replaces the text that all decision points share, unless somebody else did meanwhile.
-- KEYS: 1 the text
-- ARGV: 1 mark of the one to replace, empty for none, 2 mark of the new one, 3 the new one

if (redis.call('HGET', KEYS[1], 'm') or '') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'm', ARGV[2], 't', ARGV[3])
return 1
