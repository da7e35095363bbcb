-- What time it is.

local function now_ms(given)
  given = tonumber(given)
  if given >= 0 then return given end
  -- One clock for all decision points: that of the store.
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end
