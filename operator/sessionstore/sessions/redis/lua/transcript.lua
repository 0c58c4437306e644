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

-- Put the arguments from `first_line` on behind the lines of a list.
local function push(list, first_line)
  for from = first_line, #ARGV, CHUNK do
    redis.call('RPUSH', list, unpack(ARGV, from, math.min(from + CHUNK - 1, #ARGV)))
  end
end
