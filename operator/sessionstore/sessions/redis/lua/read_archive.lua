-- Read lines of an archive. Stands alone. KEYS: 1 the bucket's archives (hash), 2 the lines (list).
-- ARGV: 1 the archive's member, 2 and 3 what LRANGE takes.
local have = redis.call('HGET', KEYS[1], ARGV[1])
if not have then return {'absent'} end
if redis.call('LLEN', KEYS[2]) ~= tonumber(have) then
  return {'unreadable', 'it should have ' .. have .. ' lines and has ' .. redis.call('LLEN', KEYS[2])}
end
return {'ok', redis.call('LRANGE', KEYS[2], ARGV[2], ARGV[3])}
