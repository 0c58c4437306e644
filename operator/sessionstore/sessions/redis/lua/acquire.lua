-- Give out a lease, or extend it for its own holder. Stands alone. KEYS: 1 the lease (string: token, until, holder).
-- ARGV: 1 holder, 2 for how many milliseconds. Answers {"ok" or "held", token, until, holder, now} or {"unreadable"}.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local kept = redis.call('GET', KEYS[1])
local token, till, holder = string.match(kept or '0 0 ', '^(%d+) (%d+) (.*)$')
if not token then return {'unreadable', 'its lease is none'} end
if tonumber(till) <= now then
  -- The time and no mere count: a primary that takes over may not know of the last one, and must not give it out again.
  token = math.max(token + 1, now)
elseif holder ~= ARGV[1] then
  return {'held', tonumber(token), tonumber(till), holder, now}
end
till = now + ARGV[2]
redis.call('SET', KEYS[1], token .. ' ' .. till .. ' ' .. ARGV[1])
return {'ok', tonumber(token), till, ARGV[1], now}
