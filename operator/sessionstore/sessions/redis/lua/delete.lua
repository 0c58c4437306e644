-- Leave a tombstone. ARGV: 5 expected revision, '' for any.
local record, bad = head()
if not record then return bad end
local refusal = refuse(record, ARGV[5])
if refusal then return refusal end
local revision = record.live and announce(record, 'delete')
-- Also where there is no record: a row whose record was lost must not stay in the list for ever.
redis.call('ZREM', KEYS[2], ARGV[1] .. ':' .. ARGV[2])
if not record.live then return {'absent'} end

-- Generations stay and grow: who still holds the length of a transcript from before must not append to one made after.
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
  if string.sub(field, 1, 2) == 'g:' then
    local transcript = string.sub(field, 3)
    redis.call('UNLINK', list_name(transcript))
    redis.call('HDEL', KEYS[1], 'n:' .. transcript)
    redis.call('HINCRBY', KEYS[1], field, 1)
  end
end
local at = now()
redis.call('HDEL', KEYS[1], 'j', 't', 'sid')
redis.call('HSET', KEYS[1], 'r', revision, 's', 'deleted', 'u', at, 'w', at)
return {'ok'}
