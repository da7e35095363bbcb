-- Every other case of a call that nobody watches; what it is given stands in unwatched_quick.lua.

local rooms, limits, short = {}, {}, false
local id, lease, sessions, more = unpack(cjson.decode(argv[8]))
for i = 1, count do
  local at = 5 + i * 4
  local limit = { kind = argv[at], window = tonumber(argv[at + 1]), max = tonumber(argv[at + 2]), cost = tonumber(argv[at + 3]), burst = more[i][1], name = more[i][2], key = keys[2 + i] }
  local found = room[limit.kind](limit, now)
  short = short or not found[1]
  table.insert(limits, limit)
  table.insert(rooms, string.format('%d %.0f %.0f %.0f', found[1] and 1 or 0, found[2], found[3], found[4]))
end
if not short then
  for _, limit in ipairs(limits) do
    local there = call('EXISTS', limit.key) == 1
    take[limit.kind](limit, now, nil, id, lease)
    if not there then list_counter(keys[2], limit.name, sessions) end
  end
end
local told = table.concat(rooms, ';')
local permitted = argv[3] == '1' and not short
call('SET', keys[1], kept(argv[4], argv[2], now, permitted, told, short and '' or argv[5], '', '', argv[6]), 'PX', argv[7])
return { 'stored', told }
