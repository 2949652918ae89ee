-- Give a lock back; its last token stays. KEYS: the lock. ARGV: token. Returns whether it was still this token's.
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then return 0 end
return redis.call('HDEL', KEYS[1], 'expires_at')
