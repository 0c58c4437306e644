-- Stands behind shared.lua in the scripts of a transcript.

-- Return the answer that says why there is no current transcript to work on, or nil.
local function unsound()
  if status == 'deleted' then return {'absent'} end
  if transcript == '' then return {'untold'} end
  local stored = redis.call('LLEN', list_name(member, transcript))
  if stored ~= tonumber(lines) then
    return {'unreadable', 'its transcript should have ' .. lines .. ' lines and has ' .. stored}
  end
end

-- Announce a change of the lines, and try what will be done about it.
local function try_lines(operation)
  written = at
  if tonumber(updated) < now then updated = at end
  try(operation)
  redis.call('HSET', KEYS[1], 'h', head)
end

-- Put values, from one of them on, behind the lines of a list.
local function push_values(list, values, first)
  for from = first, #values, CHUNK do
    redis.call('RPUSH', list, unpack(values, from, math.min(from + CHUNK - 1, #values)))
  end
end

-- Put the arguments from `first_line` on behind the lines of a list.
local function push(list, first_line)
  push_values(list, ARGV, first_line)
end

-- As `push`, for so many lines; where they are few bytes, they are one argument with line feeds between.
local function push_joined(list, first_line, count)
  if #ARGV > first_line or count == 1 then return push(list, first_line) end
  local values, at = {}, 1
  for line = 1, count - 1 do
    -- By plain search: a pattern looks at each byte by itself.
    local feed = string.find(ARGV[first_line], '\n', at, true)
    values[line], at = string.sub(ARGV[first_line], at, feed - 1), feed + 1
  end
  values[count] = string.sub(ARGV[first_line], at)
  push_values(list, values, 1)
end
