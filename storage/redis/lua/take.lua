-- Read documents by their positions in a list. KEYS: index, then the hashes to read. ARGV: the list, what ids begin with,
-- then the positions. Returns for each what every hash has of it; false for one that is no longer at its position.
local found = {}
for number = 3, #ARGV do
  local position = ARGV[number]
  if redis.call('ZSCORE', KEYS[1], ARGV[1] .. position) then
    local parts = {}
    for key = 2, #KEYS do parts[#parts + 1] = redis.call('HGET', KEYS[key], id_at(position, ARGV[2])) or '' end
    found[#found + 1] = parts
  else
    found[#found + 1] = false
  end
end
return found
