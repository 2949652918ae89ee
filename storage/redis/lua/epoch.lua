-- Take a partition's next epoch. KEYS: a group's epochs, and names. ARGV: partition, which epoch it has to be above, and what
-- stands among the names for the group.
redis.call('ZADD', KEYS[2], 0, ARGV[3])
local taken = redis.call('HGET', KEYS[1], ARGV[1])
if not taken or tonumber(taken) < tonumber(ARGV[2]) then redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) end
return redis.call('HINCRBY', KEYS[1], ARGV[1], 1)
