-- Add lines behind the current transcript. Terms: position, generation, -. ARGV: the lines from 2 on.
local bad = take() or unsound()
if bad then return bad end
if second ~= '-' and tonumber(second) ~= tonumber(generation) then return conflict() end

local list, added, have = list_name(member, transcript), #ARGV - 1, tonumber(lines)

-- Return whether the very same lines stand at the position already.
local function is_repeated(position)
  if added == 0 or position < 0 or position + added > have then return false end
  for from = 0, added - 1, CHUNK do
    local stored = redis.call('LRANGE', list, position + from, position + math.min(from + CHUNK, added) - 1)
    for i, line in ipairs(stored) do
      if line ~= ARGV[1 + from + i] then return false end
    end
  end
  return true
end

if first ~= '-' and tonumber(first) ~= have then
  if not is_repeated(tonumber(first)) then return conflict() end
  added = 0
end
if added > 0 then
  try_lines('append')
  push(list, 2)
  lines = have + added
  keep()
end
return done(transcript, tonumber(generation), tonumber(lines))
