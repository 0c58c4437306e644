-- Add lines behind the current transcript. ARGV: 5 position, 6 generation ('' for any), then the lines.
local record, generation, lines = current_transcript()
if not record then return generation end
local refusal = refuse_lines(generation, lines, ARGV[5], ARGV[6])
if refusal then return refusal end

local added = #ARGV - 6
if added > 0 then
  local revision = announce(record, 'append')
  push(list_name(record.transcript), 7)
  redis.call('HSET', KEYS[1], 'n:' .. record.transcript, lines + added)
  moved(record, revision)
end
return {'ok', record.transcript, generation, lines + added}
