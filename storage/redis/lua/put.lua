-- Keep documents. KEYS: bodies, rows, index. ARGV: when, then of each document its id, body and row.
-- When: `always`, if `absent`, or `unless_newer`: one of a higher version is kept. Returns for each 1 if it was kept.
local outcome = {}
for at = 2, #ARGV, 3 do
  local id, body, text = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local kept = row_of(KEYS[2], id)
  local row = cjson.decode(text)
  local refused = kept and (ARGV[1] == 'absent' or (ARGV[1] == 'unless_newer' and kept.v > row.v))
  if not refused then
    redis.call('HSET', KEYS[1], id, body)
    redis.call('HSET', KEYS[2], id, text)
    move(KEYS[3], kept and kept.x or {}, row.x)
  end
  outcome[#outcome + 1] = refused and 0 or 1
end
return outcome
