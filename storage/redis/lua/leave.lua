-- Forget a member. KEYS: a group's members and when each was seen. ARGV: its id.
redis.call('HDEL', KEYS[1], ARGV[1])
return redis.call('ZREM', KEYS[2], ARGV[1])
