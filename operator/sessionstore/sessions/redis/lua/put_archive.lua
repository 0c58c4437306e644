-- Add lines to an archive. Stands alone. KEYS: 1 the bucket's archives (hash), 2 the lines (list).
-- ARGV: 1 the archive's member, 2 how many lines it must have, then the lines.
local CHUNK = 4000
local have = tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or 0)
if redis.call('LLEN', KEYS[2]) ~= have then
  return {'unreadable', 'it should have ' .. have .. ' lines and has ' .. redis.call('LLEN', KEYS[2])}
end
if tonumber(ARGV[2]) ~= have then
  return {'conflict', 'has ' .. have .. ' lines, not ' .. ARGV[2], {}}
end
for from = 3, #ARGV, CHUNK do
  redis.call('RPUSH', KEYS[2], unpack(ARGV, from, math.min(from + CHUNK - 1, #ARGV)))
end
redis.call('HSET', KEYS[1], ARGV[1], have + #ARGV - 2)
return {'ok', have + #ARGV - 2}
