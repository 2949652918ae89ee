-- Tell all epochs. KEYS: a group's epochs. Returns each partition, and after it its last epoch.
return redis.call('HGETALL', KEYS[1])
