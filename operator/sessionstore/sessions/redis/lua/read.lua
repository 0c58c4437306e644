-- Read lines of the current transcript, and its head at the same moment. ARGV: 2 start, 3 stop, as Python slices.
-- Answers {"ok", transcript, generation, lines, from, slice, use, count}: where the slice is few bytes, it is one text
-- with line feeds between its `count` lines. `use` is 1 where the use has to be written down.
local bad = load()
if bad then return bad end
if is_expired() then return {'absent'} end
bad = unsound()
if bad then return bad end

-- As transitions.wants_touch: sixteen small writes for each idle time, however often it is read.
local function wants_touch()
  local rest = own_idle == '-' and idle or own_idle
  return expires ~= '0' and rest ~= '0' and now - math.max(written, touched) >= math.floor(rest / 16)
end

local have = tonumber(lines)
local function clamp(index)
  if index < 0 then return math.max(index + have, 0) end
  return math.min(index, have)
end
local from = clamp(tonumber(ARGV[2]))
local to = ARGV[3] == '' and have or clamp(tonumber(ARGV[3]))
local slice = {}
if from < to then slice = redis.call('LRANGE', list_name(member, transcript), from, to - 1) end
local count, size = #slice, 0
for _, line in ipairs(slice) do size = size + #line end
if count > 0 and size <= tonumber(ARGV[4]) then slice = table.concat(slice, '\n') end
return {'ok', transcript, tonumber(generation), have, from, slice, wants_touch() and 1 or 0, count}
