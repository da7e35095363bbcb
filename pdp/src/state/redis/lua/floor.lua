-- Raises the lowest version of a bundle that may be live. Versions are below 2^53.
-- KEYS: 1 the floor
-- ARGV: 1 the version that is live, 0 for none

local floor = tonumber(redis.call('GET', KEYS[1]) or '0')
local version = tonumber(ARGV[1])
if version > floor then
  redis.call('SET', KEYS[1], ARGV[1])
  return ARGV[1]
end
return string.format('%.0f', floor)
