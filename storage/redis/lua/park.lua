-- Keep a parked input, or count it once more. KEYS: details, rows, index, beginnings, and the rest of its body.
-- ARGV: id, details, row, the body's beginning, and how many pieces its rest has; none of the two last to count alone.
-- Returns 1 if that was done, 0 if it is not there or not all of its rest.
local id = ARGV[1]
local kept, row = row_of(KEYS[2], id), cjson.decode(ARGV[3])
if kept then
  row.attempts = kept.attempts + 1
  row.size = kept.size
elseif not ARGV[4] or redis.call('HLEN', KEYS[5]) ~= tonumber(ARGV[5]) then
  return 0
else
  redis.call('HSET', KEYS[4], id, ARGV[4])
end
redis.call('HSET', KEYS[1], id, ARGV[2])
redis.call('HSET', KEYS[2], id, cjson.encode(row))
move(KEYS[3], kept and kept.x or {}, row.x)
return 1
