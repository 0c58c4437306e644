-- Leave a tombstone. Terms: expected revision, -, -.
local bad = take() or refuse(first)
if bad then return bad end
if status == 'deleted' then
  -- A row whose record was lost must not stay in the lists for ever.
  for index = 3, 5 do redis.call('ZREM', KEYS[index], member) end
  return {'absent'}
end
if not bury(KEYS[1], member, head, 'delete') then
  return {'unreadable', 'one of its transcripts has no generation or length'}
end
return done()
