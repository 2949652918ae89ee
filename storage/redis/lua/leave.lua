-- Forget a member. KEYS: a group's members, when each was seen, and names. ARGV: its id, and what stands among the names
-- for the group.
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
if redis.call('EXISTS', KEYS[1]) == 0 then redis.call('ZREM', KEYS[3], ARGV[2]) end
return 1
