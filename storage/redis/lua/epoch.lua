-- Take a partition's next epoch. KEYS: a group's epochs. ARGV: partition, and which epoch it has to be above.
local taken = redis.call('HGET', KEYS[1], ARGV[1])
if not taken or tonumber(taken) < tonumber(ARGV[2]) then redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) end
return redis.call('HINCRBY', KEYS[1], ARGV[1], 1)
