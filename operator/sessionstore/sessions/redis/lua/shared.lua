-- Stands before each script of a session. The contract of the fields is docs/design/0001-identity.md.
-- KEYS: 1 record (hash), 2 index (sorted set), 3 feed (stream); all of one bucket, so of one slot.
-- ARGV: 1 agent, 2 key, 3 and 4 what stands before and behind a transcript id in its list's name, then the script's own.
-- A script answers {"ok", …}, {"conflict", why, record}, {"absent"}, {"untold"} (no transcript) or {"unreadable", why}.

local FEED_LENGTH = 20000
-- unpack() fails beyond 8000 values (LUAI_MAXCSTACK); what one script does stays one step however many calls it makes.
local CHUNK = 4000

-- Milliseconds as text: Lua would write a number of this size with 14 digits at most.
local function digits(number)
  return string.format('%.0f', number)
end

local function now()
  local time = redis.call('TIME')
  return digits(tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
end

-- Return the record's head (revision 0 and not live where there is none), or nil and the answer that says why not.
local function head()
  local v = redis.call('HMGET', KEYS[1], 'r', 's', 'c', 'u', 't')
  if not v[1] then
    if redis.call('EXISTS', KEYS[1]) == 1 then
      return nil, {'unreadable', 'it has no revision'}
    end
    return {revision = 0, live = false}
  end
  if not string.match(v[1], '^%d+$') then
    return nil, {'unreadable', 'its revision is no number'}
  end
  if v[2] ~= 'active' and v[2] ~= 'archived' and v[2] ~= 'deleted' then
    return nil, {'unreadable', 'its status is not known to this version'}
  end
  return {
    revision = tonumber(v[1]), live = v[2] ~= 'deleted', status = v[2],
    created = v[3], updated = v[4], transcript = v[5],
  }
end

local function conflict(why)
  return {'conflict', why, redis.call('HGETALL', KEYS[1])}
end

-- Return the answer that refuses a write, or nil where `expected` ('' for any) is the revision.
local function refuse(record, expected)
  local have = record.live and record.revision or 0
  if expected ~= '' and tonumber(expected) ~= have then
    return conflict('is at revision ' .. digits(have) .. ', not ' .. expected)
  end
end

local function list_name(transcript)
  return ARGV[3] .. transcript .. ARGV[4]
end

-- Return (generation, lines) of a transcript, or nil, nil and the answer that says why they cannot be believed.
local function measure(transcript)
  local v = redis.call('HMGET', KEYS[1], 'g:' .. transcript, 'n:' .. transcript)
  local generation, lines = tonumber(v[1] or ''), tonumber(v[2] or '')
  if not generation or not lines then
    return nil, nil, {'unreadable', 'its transcript has no generation or length'}
  end
  local stored = redis.call('LLEN', list_name(transcript))
  if stored ~= lines then
    return nil, nil, {'unreadable', 'its transcript should have ' .. lines .. ' lines and has ' .. stored}
  end
  return generation, lines
end

-- Return (record, generation, lines) of the current transcript, or nil and the answer for the caller.
local function current_transcript()
  local record, bad = head()
  if not record then return nil, bad end
  if not record.live then return nil, {'absent'} end
  if not record.transcript then return nil, {'untold'} end
  local generation, lines, unsound = measure(record.transcript)
  if not generation then return nil, unsound end
  return record, generation, lines
end

-- Return the answer that refuses lines, or nil where position and generation ('' for any) hold.
local function refuse_lines(generation, lines, expected_position, expected_generation)
  if expected_generation ~= '' and tonumber(expected_generation) ~= generation then
    return conflict('has its transcript at generation ' .. generation .. ', not ' .. expected_generation)
  end
  if expected_position ~= '' and tonumber(expected_position) ~= lines then
    return conflict('has a transcript of ' .. lines .. ' lines, not ' .. expected_position)
  end
end

local function push(list, first)
  for from = first, #ARGV, CHUNK do
    redis.call('RPUSH', list, unpack(ARGV, from, math.min(from + CHUNK - 1, #ARGV)))
  end
end

local function later(one, other)
  if tonumber(one or '') and tonumber(one) > tonumber(other) then return one end
  return other
end

-- Announce a change in the feed, before it is made, and return the revision it makes.
-- A script that fails is not rolled back. So what may be refused (a right that the user lacks, an index or a feed of
-- another type) is tried first, by writes that change nothing; at worst the feed names a change that was not made.
local function announce(record, operation)
  if record.revision > 0 then
    redis.call('HSET', KEYS[1], 'r', digits(record.revision))
  end
  -- No member is named '', so XX adds none and ZREM takes none away.
  redis.call('ZADD', KEYS[2], 'XX', 0, '')
  redis.call('ZREM', KEYS[2], '')
  local revision = digits(record.revision + 1)
  redis.call('XADD', KEYS[3], 'MAXLEN', '~', FEED_LENGTH, '*',
    'a', ARGV[1], 'k', ARGV[2], 'r', revision, 'o', operation)
  return revision
end

local function rank(updated)
  redis.call('ZADD', KEYS[2], updated, ARGV[1] .. ':' .. ARGV[2])
end

-- A transcript changed: the session moved, to the revision that was announced.
local function moved(record, revision)
  local at = now()
  local updated = later(record.updated, at)
  redis.call('HSET', KEYS[1], 'r', revision, 'u', updated, 'w', at)
  rank(updated)
end
