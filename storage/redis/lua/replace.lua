-- Replace commits of one conversation. KEYS: its log, inputs and targets.
-- ARGV of each commit: version, SHA-1 of the body it replaces, its body, and four lists with their lengths before them:
-- the inputs and the targets of the one replaced, its own inputs, its own targets.
-- Returns for each 0 if it was replaced, 1 if another commit holds one of its inputs, 2 if it was changed meanwhile.
local outcome = {}
local at = 1

local function several()
  local found, count = {}, tonumber(ARGV[at])
  for number = 1, count do found[number] = ARGV[at + number] end
  at = at + count + 1
  return found
end

while at <= #ARGV do
  local version, digest, body = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  at = at + 3
  local old_inputs, old_targets, inputs, targets = several(), several(), several(), several()
  local refused = 0
  local kept = redis.call('HGET', KEYS[1], version)
  if not kept or redis.sha1hex(kept) ~= digest then refused = 2 end
  for _, input in ipairs(refused == 0 and inputs or {}) do
    local holder = redis.call('HGET', KEYS[2], input)
    if holder and holder ~= version then refused = 1 end
  end
  if refused == 0 then
    for _, input in ipairs(old_inputs) do redis.call('HDEL', KEYS[2], input) end
    for _, target in ipairs(old_targets) do redis.call('ZREM', KEYS[3], target) end
    redis.call('HSET', KEYS[1], version, body)
    for _, input in ipairs(inputs) do redis.call('HSET', KEYS[2], input, version) end
    for _, target in ipairs(targets) do redis.call('ZADD', KEYS[3], 0, target) end
  end
  outcome[#outcome + 1] = refused
end
return outcome
