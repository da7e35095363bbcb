-- Takes parts of limits for one decision point, as many units as there are, up to what it wants.
-- KEYS: 1 all counters, 2.. limits
-- ARGV: 1 now_ms or -1, 2 prefix of sessions, 3.. six of each limit: kind, window, max, wanted,
--   least that is of any use, name

local now = now_ms(ARGV[1])
local told = {}
for i = 3, #ARGV, 6 do
  local key = KEYS[2 + (i - 3) / 6]
  local limit = { kind = ARGV[i], window = tonumber(ARGV[i + 1]), max = tonumber(ARGV[i + 2]), cost = 0, key = key }
  local found = room[limit.kind](limit, now)
  -- The nearer the end, the smaller the part: less is idle with somebody who does not need it.
  local units = math.min(tonumber(ARGV[i + 3]), math.max(tonumber(ARGV[i + 4]), math.floor(found[2] / 4)))
  if units > found[2] then units = 0 end
  if units > 0 then
    local _, _, there = counted(ARGV[i + 5], ARGV[2])
    add(limit, now, nil, units)
    if not there then list_counter(KEYS[1], ARGV[i + 5], ARGV[2]) end
  end
  table.insert(told, string.format('%.0f %.0f %.0f', units, found[2] - units, found[3]))
end
table.insert(told, 1, string.format('%.0f', now))
return told
