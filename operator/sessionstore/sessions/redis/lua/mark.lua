-- Change what people set on a session, or count a use. Terms: expected revision, own time to live, own idle time (`=`
-- for as they are). ARGV: 2 status, 3 pinned (0, 1), 4 title, 5 reason ('' for as it is, else behind `=`), 6 whether it
-- is a use (0, 1), 7 how many tags there may be, 8 how many tags follow to be added; those behind them are taken away.
local bad = take() or refuse(first)
if bad then return bad end
if status == 'deleted' then return {'absent'} end

local stored = redis.call('HGET', KEYS[1], 'm') or ''
local marks, has, away, place = {'', ''}, {}, {}, 0
for i = 9 + ARGV[8], #ARGV do away[ARGV[i]] = true end
-- Tags keep their order, so that what changes nothing is the same text.
for text in string.gmatch(stored == '' and '' or stored .. '\n', '(.-)\n') do
  place = place + 1
  if place < 3 then
    marks[place] = text
  elseif not away[text] then
    has[text] = true
    marks[#marks + 1] = text
  end
end
for i = 9, 8 + ARGV[8] do
  if not has[ARGV[i]] and not away[ARGV[i]] then marks[#marks + 1] = ARGV[i] end
end
if #marks - 2 > tonumber(ARGV[7]) then return {'full', #marks - 2} end

local was, was_pinned, was_ttl, was_idle = status, pinned, own_ttl, own_idle
if ARGV[2] ~= '' then status = ARGV[2] end
if ARGV[3] ~= '' then pinned = ARGV[3] end
if second ~= '=' then own_ttl, own_idle = second, third end
if ARGV[4] ~= '' then marks[1] = string.sub(ARGV[4], 2) end
if status == 'active' then
  marks[2] = ''
elseif ARGV[5] ~= '' then
  marks[2] = string.sub(ARGV[5], 2)
end
local text = table.concat(marks, '\n')
if text == '\n' then text = '' end

local turned = status ~= was
local changed = turned or text ~= stored or pinned ~= was_pinned or own_ttl ~= was_ttl or own_idle ~= was_idle
-- Who takes an exemption from expiry away does not want the session to be gone the same instant.
if changed and ((turned and status == 'active') or pinned < was_pinned or second ~= '=') then written = at end
if ARGV[6] == '1' and tonumber(touched) < now then touched = at end

if changed then
  try(ARGV[2] == '' and 'mark' or status == 'archived' and 'archive' or 'restore')
  if turned then redis.call('ZREM', KEYS[status == 'active' and 4 or 3], '') end
  keep('m', text)
  if turned then redis.call('ZREM', KEYS[status == 'active' and 4 or 3], member) end
elseif ARGV[6] == '1' then
  try()
  keep()
end
if ARGV[6] == '1' then return done() end
return done(head, redis.call('HGET', KEYS[1], 'j'), text)
