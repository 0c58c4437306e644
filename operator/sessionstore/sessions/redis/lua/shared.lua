-- Stands before each script of a session. The contract of keys and fields is docs/design/0001-identity.md.
-- KEYS, all of one bucket: 1 record (hash), 2 feed (stream); 3 index of the active, 4 of the archived, 5 of those that
-- will expire (sorted sets); 6 the lease (string) where the call is fenced. Other records, and lists, are named here.
-- ARGV[1]: six terms with a space between: fence, the store's time to live, its idle time (ms), and three of the
-- script's own; `-` for none. Then the script's other arguments.
-- A script answers {"ok", …}, {"conflict", head, entry, marks}, {"absent"}, {"untold"} (it names no transcript),
-- {"lost"} (the lease) or {"unreadable", why}.
--
-- A script that fails is not rolled back. So what may be refused (a right that the user lacks, a key of another type, a
-- key whose slot is on its way to another server) is tried before the first change, by writes that change nothing.
-- The event goes before all others: at worst the feed names a change that was not made.

local FEED_LENGTH = '20000'
-- unpack() fails beyond 8000 values (LUAI_MAXCSTACK); what one script does stays one step however many calls it makes.
local CHUNK = 4000
local HEAD = '^(%d+) (%l+) (%d+) (%d+) (%d+) (%d+) (%d+) ([01]) (%S+) (%S+) (%S+) (%d+) (%d+) (.*)$'

local time = redis.call('TIME')
-- Milliseconds have 13 digits; Lua writes numbers with 14. As text, since a number costs a call half as much again.
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local at = now .. ''
local prefix = string.sub(KEYS[2], 1, -2)
local member = string.sub(KEYS[1], #prefix + 3)
local fence, ttl, idle, first, second, third = string.match(ARGV[1], '^(%S+) (%d+) (%d+) (%S+) (%S+) (%S+)$')

-- The record in hand, as text where it is only carried on; `head` is what is stored of it.
local head
local revision, status, created, updated, written, touched, expires, pinned, own_ttl, own_idle, sum, generation, lines,
  transcript = 0, 'deleted', at, at, at, '0', '0', '0', '-', '-', '-', '0', '0', ''

local function list_name(name, id)
  return prefix .. 't:' .. id .. ':' .. name
end

local function announce(name, to, operation)
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', FEED_LENGTH, '*', 'e', to .. ' ' .. operation .. ' ' .. name)
end

-- Return the transcripts that a tombstone remembers, each with the generation that nobody has seen yet: who still holds
-- the length of a transcript from before must not append to one made after. Nil where they cannot be believed.
local function succeeded(key, current, current_generation)
  local kept = {}
  for _, field in ipairs(redis.call('HKEYS', key)) do
    if string.sub(field, 1, 2) == 't:' then
      kept[string.sub(field, 3)] = tonumber(string.match(redis.call('HGET', key, field), '^(%d+) %d+$') or '')
      if not kept[string.sub(field, 3)] then return nil end
    end
  end
  if current ~= '' then kept[current] = tonumber(current_generation) end
  for id, was in pairs(kept) do kept[id] = was + 1 end
  return kept
end

-- Make the live record `key`, whose head is `was`, a tombstone. Return its head, or nil where it cannot be believed.
local function bury(key, name, was, operation)
  local from, _, since, _, _, _, _, _, _, _, _, last, _, current = string.match(was, HEAD)
  local kept = succeeded(key, current, last)
  if not kept then return nil end
  -- First what takes away: a server that is full refuses what may add, unless a write of that kind went before it.
  for index = 3, 5 do redis.call('ZREM', KEYS[index], '') end
  -- Refused where a list is on its way to another server of a Cluster, before any of them is gone.
  for id in pairs(kept) do redis.call('EXISTS', list_name(name, id)) end
  announce(name, from + 1, operation)
  redis.call('HSET', key, 'h', was)
  redis.call('HDEL', key, '')
  for id in pairs(kept) do redis.call('UNLINK', list_name(name, id)) end
  redis.call('HDEL', key, 'j', 'a', 'm')
  for id, next_one in pairs(kept) do redis.call('HSET', key, 't:' .. id, next_one .. ' 0') end
  local is = from + 1 .. ' deleted ' .. since .. ' ' .. at .. ' ' .. at .. ' 0 0 0 - - - 0 0 '
  redis.call('HSET', key, 'h', is)
  for index = 3, 5 do redis.call('ZREM', KEYS[index], name) end
  return is
end

-- Take the record at KEYS[1] in hand. Return the answer that says why that cannot be done, or nil.
local function load()
  head = redis.call('HGET', KEYS[1], 'h')
  if not head then
    return redis.call('EXISTS', KEYS[1]) == 1 and {'unreadable', 'it has no head'} or nil
  end
  revision, status, created, updated, written, touched, expires, pinned, own_ttl, own_idle, sum, generation, lines,
    transcript = string.match(head, HEAD)
  if not revision then return {'unreadable', 'its head is none'} end
  if status ~= 'active' and status ~= 'archived' and status ~= 'deleted' then
    return {'unreadable', 'its status is not known to this version'}
  end
end

local function is_expired()
  return expires ~= '0' and status ~= 'deleted' and tonumber(expires) <= now
end

-- As `load`, for a change: one that expired is first made a tombstone, and the fence has to hold.
local function take()
  local bad = load()
  if not bad and is_expired() then
    local tombstone = bury(KEYS[1], member, head, 'expire')
    bad = not tombstone and {'unreadable', 'one of its transcripts has no generation or length'} or load()
  end
  if bad then return bad end
  if fence ~= '-' then
    local token, till = string.match(redis.call('GET', KEYS[6]) or '', '^(%d+) (%d+) ')
    if token ~= fence or tonumber(till) <= now then return {'lost'} end
  end
end

local function conflict()
  return {'conflict', unpack(redis.call('HMGET', KEYS[1], 'h', 'j', 'm'))}
end

-- Return the answer that refuses a write, or nil where `expected` (`-` for any) is the revision.
local function refuse(expected)
  if expected ~= '-' and tonumber(expected) ~= (status == 'deleted' and 0 or tonumber(revision)) then
    return conflict()
  end
end

-- Return when the record in hand expires, 0 for never.
local function ending()
  if status ~= 'active' or pinned == '1' then return 0 end
  local live = own_ttl == '-' and ttl or own_ttl
  local rest = own_idle == '-' and idle or own_idle
  if live == '0' and rest == '0' then return 0 end
  return math.min(live == '0' and math.huge or written + live,
    rest == '0' and math.huge or math.max(written, touched) + rest)
end

local function index()
  return status == 'archived' and KEYS[4] or KEYS[3]
end

-- Announce a change of the record in hand, if it is one, and try what `keep` will do.
local function try(operation)
  if operation then
    revision = revision + 1
    announce(member, revision, operation)
  end
  -- No member is named '', so XX adds none and ZREM takes none away.
  redis.call('ZADD', index(), 'XX', '0', '')
  if ending() ~= tonumber(expires) then
    redis.call('ZADD', KEYS[5], 'XX', '0', '')
    redis.call('ZREM', KEYS[5], '')
  end
end

-- Store the record in hand, with other fields and their values. Return its head.
local function keep(...)
  local ends = ending()
  head = revision .. ' ' .. status .. ' ' .. created .. ' ' .. updated .. ' ' .. written .. ' ' .. touched .. ' ' ..
    ends .. ' ' .. pinned .. ' ' .. own_ttl .. ' ' .. own_idle .. ' ' .. sum .. ' ' .. generation .. ' ' .. lines ..
    ' ' .. transcript
  redis.call('HSET', KEYS[1], 'h', head, ...)
  redis.call('ZADD', index(), updated, member)
  if ends == 0 and expires ~= '0' then
    redis.call('ZREM', KEYS[5], member)
  elseif ends ~= tonumber(expires) then
    redis.call('ZADD', KEYS[5], ends, member)
  end
  return head
end

-- Make one session of KEYS[5] a tombstone if it has expired; return 1 where it had.
local function expire(name)
  local key = prefix .. 'e:' .. name
  local found = redis.pcall('HGET', key, 'h')
  if type(found) == 'table' and not string.find(found.err, 'WRONGTYPE', 1, true) then error(found.err) end
  local is, till = string.match(type(found) == 'string' and found or '', '^%d+ (%l+) %d+ %d+ %d+ %d+ (%d+) ')
  if is and is ~= 'deleted' and till ~= '0' then
    if tonumber(till) > now then
      redis.call('ZADD', KEYS[5], till, name)
      return 0
    end
    if string.match(found, HEAD) and bury(key, name, found, 'expire') then return 1 end
  end
  -- Not one that expires, or damaged: reads say so; here it would stand before the others for ever.
  redis.call('ZREM', KEYS[5], name)
  return 0
end

local function sweep(limit)
  local count = 0
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[5], '-inf', at, 'LIMIT', '0', limit)) do
    count = count + expire(name)
  end
  return count
end

-- End a change: two others that expired go with it. It is done already, so what goes wrong with them is not its error.
local function done(...)
  pcall(sweep, '2')
  return {'ok', ...}
end
