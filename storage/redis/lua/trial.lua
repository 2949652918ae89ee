-- Note an attempt at an input. KEYS: its attempts. ARGV: the attempt. Returns how many there were.
redis.call('SADD', KEYS[1], ARGV[1])
return redis.call('SCARD', KEYS[1])
