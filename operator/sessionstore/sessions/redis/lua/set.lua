-- Write an entry. ARGV: 5 expected revision, 6 entry, 7 its updatedAt, 8 its transcript id, 9 its sessionId; '' for none.
local record, bad = head()
if not record then return bad end
local refusal = refuse(record, ARGV[5])
if refusal then return refusal end

local at = now()
local revision = announce(record, 'set')
local created = record.live and record.created or at
local updated = ARGV[7] ~= '' and ARGV[7] or at
redis.call('HSET', KEYS[1], 'j', ARGV[6], 'r', revision, 's', record.live and record.status or 'active',
  'c', created, 'u', updated, 'w', at)
local generation, lines = '0', '0'
if ARGV[8] == '' then
  redis.call('HDEL', KEYS[1], 't')
else
  redis.call('HSET', KEYS[1], 't', ARGV[8])
  redis.call('HSETNX', KEYS[1], 'g:' .. ARGV[8], 0)
  redis.call('HSETNX', KEYS[1], 'n:' .. ARGV[8], 0)
  local v = redis.call('HMGET', KEYS[1], 'g:' .. ARGV[8], 'n:' .. ARGV[8])
  generation, lines = v[1], v[2]
end
if ARGV[9] == '' then
  redis.call('HDEL', KEYS[1], 'sid')
else
  redis.call('HSET', KEYS[1], 'sid', ARGV[9])
end
rank(updated)
return {'ok', {'r', revision, 's', record.live and record.status or 'active', 'c', created, 'u', updated, 'w', at,
  't', ARGV[8], 'g:' .. ARGV[8], generation, 'n:' .. ARGV[8], lines}}
