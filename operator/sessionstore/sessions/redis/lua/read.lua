-- Read lines of the current transcript, and its head at the same moment. ARGV: 5 start, 6 stop, as Python slices.
local record, generation, lines = current_transcript()
if not record then return generation end

local function clamp(index)
  if index < 0 then return math.max(index + lines, 0) end
  return math.min(index, lines)
end
local first = clamp(tonumber(ARGV[5]))
local last = ARGV[6] == '' and lines or clamp(tonumber(ARGV[6]))
local slice = {}
if first < last then
  slice = redis.call('LRANGE', list_name(record.transcript), first, last - 1)
end
return {'ok', record.transcript, generation, lines, first, slice}
