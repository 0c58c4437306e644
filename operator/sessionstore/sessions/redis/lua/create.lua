-- Make a session that is not there, with the first lines of its transcript. Terms: -, own time to live, own idle time
-- (`=` for the store's). ARGV: 2 to 4 as for set.lua, 5 how many lines, 6 those: as one text, or each by itself.
local bad = take() or refuse('0')
if bad then return bad end

local said, checksum, named = string.match(ARGV[4], '^(%S+) (%S+) (.*)$')
if head and named ~= '' then
  -- A tombstone remembers the generation that lines of this name may have from now on.
  generation = string.match(redis.call('HGET', KEYS[1], 't:' .. named) or '0 0', '^(%d+) %d+$')
  if not generation then return {'unreadable', 'one of its transcripts has no generation or length'} end
end
transcript, lines, status, created = named, tonumber(ARGV[5]), 'active', at
if second ~= '=' then own_ttl, own_idle = second, third end
written, sum = at, checksum
updated = said == '-' and at or said

if lines == 0 then
  try('set')
  return done(keep('j', ARGV[2], 'a', ARGV[3]))
end
local list = list_name(member, named)
if redis.call('EXISTS', list) == 1 then return {'unreadable', 'it is not there, and its transcript has lines'} end
try('set')
push_joined(list, 6, lines)
-- Nothing can be written to a record that is not there without making it, so that right is tried by making it.
local kept, made = pcall(keep, 'j', ARGV[2], 'a', ARGV[3])
if not kept then
  redis.call('UNLINK', list)
  error(type(made) == 'table' and made.err or made)
end
return done(made)
