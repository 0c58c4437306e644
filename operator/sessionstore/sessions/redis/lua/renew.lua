-- Extend a lease, or give it back. Stands alone. KEYS: 1 the lease (string: token, until, holder).
-- ARGV: 1 token, 2 for how many milliseconds; 0 gives it back. The token stays: it only ever grows.
-- Answers {"ok", until} or {"ended"}.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local token, till, holder = string.match(redis.call('GET', KEYS[1]) or '', '^(%d+) (%d+) (.*)$')
if token ~= ARGV[1] or tonumber(till) <= now then return {'ended'} end
till = ARGV[2] == '0' and 0 or now + ARGV[2]
redis.call('SET', KEYS[1], token .. ' ' .. till .. ' ' .. holder)
return {'ok', till}
