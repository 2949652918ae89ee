-- Say what became of a parked input. KEYS: rows. ARGV: id, status. Returns whether there is one.
local row = row_of(KEYS[1], ARGV[1])
if not row then return 0 end
row.f.status = ARGV[2]
redis.call('HSET', KEYS[1], ARGV[1], cjson.encode(row))
return 1
