-- Write an entry. Terms: expected revision, own time to live, own idle time (`=` for as they are).
-- ARGV: 2 entry, 3 attributes, 4 the entry's updatedAt (or -), its checksum and transcript id, with spaces between.
local bad = take() or refuse(first)
if bad then return bad end

local said, checksum, named = string.match(ARGV[4], '^(%S+) (%S+) (.*)$')
local left, left_at
if named ~= transcript then
  if transcript ~= '' then left, left_at = 't:' .. transcript, generation .. ' ' .. lines end
  local kept = named ~= '' and redis.call('HGET', KEYS[1], 't:' .. named)
  generation, lines = string.match(kept or '0 0', '^(%d+) (%d+)$')
  if not generation then return {'unreadable', 'one of its transcripts has no generation or length'} end
  transcript = named
end
if status == 'deleted' then status, created = 'active', at end
if second ~= '=' then own_ttl, own_idle = second, third end
written, sum = at, checksum
updated = said == '-' and at or said

try('set')
if left then
  keep('j', ARGV[2], 'a', ARGV[3], left, left_at)
else
  keep('j', ARGV[2], 'a', ARGV[3])
end
return done(head, redis.call('HGET', KEYS[1], 'm'))
