-- Replace the current transcript's lines. Terms: expected revision, generation, -. ARGV: the lines from 2 on.
local bad = take() or refuse(first) or unsound()
if bad then return bad end
if second ~= '-' and tonumber(second) ~= tonumber(generation) then return conflict() end

local list = list_name(member, transcript)
try_lines('rewrite')
redis.call('LTRIM', list, 0, -1)
-- The new behind the old, and then the old away: a right to push that is lacking is told before a line is gone.
push(list, 2)
if lines ~= '0' then redis.call('LTRIM', list, lines, -1) end
generation, lines = generation + 1, #ARGV - 1
keep()
return done(transcript, generation, lines)
