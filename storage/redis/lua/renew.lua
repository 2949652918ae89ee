-- Let a lease end later. KEYS: the lock. ARGV: token, lease in milliseconds. Returns when it ends, or nothing.
local kept = redis.call('HMGET', KEYS[1], 'token', 'expires_at')
if kept[1] ~= ARGV[1] or not kept[2] then return false end
local ends = text(now() + ARGV[2])
redis.call('HSET', KEYS[1], 'expires_at', ends)
return ends
