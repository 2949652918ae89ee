-- Raise the last token of a lock, which nobody holds then. KEYS: the lock, and names. ARGV: the token, and what stands
-- among the names for it. One that is not below it stays.
local last = redis.call('HGET', KEYS[1], 'token')
if last and tonumber(last) >= tonumber(ARGV[1]) then return 0 end
redis.call('HSET', KEYS[1], 'token', ARGV[1])
redis.call('HDEL', KEYS[1], 'expires_at')
redis.call('ZADD', KEYS[2], 0, ARGV[2])
return 1
