-- Replace the current transcript's lines. ARGV: 5 unused, 6 generation ('' for any), then the lines.
local record, generation, lines = current_transcript()
if not record then return generation end
local refusal = refuse_lines(generation, lines, '', ARGV[6])
if refusal then return refusal end

local revision = announce(record, 'rewrite')
local list = list_name(record.transcript)
redis.call('UNLINK', list)
push(list, 7)
redis.call('HSET', KEYS[1], 'g:' .. record.transcript, generation + 1, 'n:' .. record.transcript, #ARGV - 6)
moved(record, revision)
return {'ok', record.transcript, generation + 1, #ARGV - 6}
