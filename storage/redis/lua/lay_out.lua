-- Agree on how the store is laid out. KEYS: the layout. ARGV: the version and the number of shards of a new one.
-- Returns those of the one that is there.
if redis.call('EXISTS', KEYS[1]) == 0 then redis.call('HSET', KEYS[1], 'version', ARGV[1], 'shards', ARGV[2]) end
return redis.call('HMGET', KEYS[1], 'version', 'shards')
