-- Delete documents. KEYS: bodies, rows, index. ARGV: when, then of each document its id and what that needs.
-- When: `always`, `unless_newer` than a version, or if it has a `place`. Returns how many there were.
local count = 0
for at = 2, #ARGV, 2 do
  local id, given = ARGV[at], ARGV[at + 1]
  local kept = row_of(KEYS[2], id)
  local goes = kept and (
    ARGV[1] == 'always'
    or (ARGV[1] == 'unless_newer' and kept.v <= given)
    or (ARGV[1] == 'place' and redis.call('ZSCORE', KEYS[3], given) ~= false)
  )
  if goes then
    redis.call('HDEL', KEYS[1], id)
    redis.call('HDEL', KEYS[2], id)
    move(KEYS[3], kept.x, {})
    count = count + 1
  end
end
return count
