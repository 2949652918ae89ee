-- Take a lock. KEYS: the lock, and names. ARGV: its lease in milliseconds, and what stands among the names for it.
-- Returns its token and when the lease ends, or nothing while somebody holds it.
local time = now()
local ends = redis.call('HGET', KEYS[1], 'expires_at')
if ends and tonumber(ends) > time then return false end
local token = redis.call('HINCRBY', KEYS[1], 'token', 1)
ends = text(time + ARGV[1])
redis.call('HSET', KEYS[1], 'expires_at', ends)
redis.call('ZADD', KEYS[2], 0, ARGV[2])
return {token, ends}
