-- Add lines to an archive, or put them in place of those it has. Stands alone. KEYS: 1 the bucket's archives (hash),
-- 2 the lines (list). ARGV: 1 the archive's member, 2 how many lines it must have, 3 whether these go (0, 1), then lines.
-- Answers {"ok", lines}, {"conflict", why} or {"unreadable", why}.
local CHUNK = 4000
local kept = redis.call('HGET', KEYS[1], ARGV[1])
local have = tonumber(kept or 0)
local stored = redis.call('LLEN', KEYS[2])
if stored ~= have then
  return {'unreadable', 'it should have ' .. have .. ' lines and has ' .. stored}
end
if tonumber(ARGV[2]) ~= have then
  return {'conflict', 'has ' .. have .. ' lines, not ' .. ARGV[2]}
end
local lines = #ARGV - 3 + (ARGV[3] == '0' and have or 0)
-- A script that fails is not rolled back: what may be refused is tried before the first change.
redis.call('HSET', KEYS[1], ARGV[1], have)
redis.call('LTRIM', KEYS[2], 0, -1)
for from = 4, #ARGV, CHUNK do
  redis.call('RPUSH', KEYS[2], unpack(ARGV, from, math.min(from + CHUNK - 1, #ARGV)))
end
if ARGV[3] == '1' and have > 0 then redis.call('LTRIM', KEYS[2], have, -1) end
redis.call('HSET', KEYS[1], ARGV[1], lines)
return {'ok', lines}
