-- Delete a parked input. KEYS: details, rows, index, beginnings, and the rest of its body. ARGV: id.
local kept = row_of(KEYS[2], ARGV[1])
if not kept then return 0 end
for _, key in ipairs({KEYS[1], KEYS[2], KEYS[4]}) do redis.call('HDEL', key, ARGV[1]) end
move(KEYS[3], kept.x, {})
redis.call('UNLINK', KEYS[5])
return 1
