-- Gives back what a decision point leased and did not need, and books what it used beyond.
-- KEYS: 1 when limits were emptied, 2.. limits
-- ARGV: 1 now_ms or -1, 2.. five of each limit: kind, window, units (below 0: used beyond), when
--   they were taken, end of its window or -1

local now = now_ms(ARGV[1])
for i = 2, #ARGV, 5 do
  local key = KEYS[2 + (i - 2) / 5]
  local units, taken, ends = tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3]), tonumber(ARGV[i + 4])
  local limit = { kind = ARGV[i], window = tonumber(ARGV[i + 1]), key = key }
  if ends >= 0 and ends <= now then
    -- Its window is over.
  elseif units < 0 then
    add(limit, now, nil, -units)
  elseif not emptied(KEYS[1], key, taken) then
    give[limit.kind](limit, units, nil, taken)
  end
end
return 1
