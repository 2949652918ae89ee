-- Append commits. KEYS: the index, then of each commit its conversation's log, order, inputs and targets.
-- ARGV of each commit: conversation, version, body, how many inputs, the inputs, how many targets, the targets.
-- Returns for each 0 if it was appended, 1 if there is one of its version, 2 if one of its inputs is in another.
local outcome = {}
local at, key = 1, 2

local function several()
  local found, count = {}, tonumber(ARGV[at])
  for number = 1, count do found[number] = ARGV[at + number] end
  at = at + count + 1
  return found
end

while at <= #ARGV do
  local conversation, version, body = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  at = at + 3
  local inputs, targets = several(), several()
  local log, order, known, amended = KEYS[key], KEYS[key + 1], KEYS[key + 2], KEYS[key + 3]
  key = key + 4
  local refused = redis.call('HEXISTS', log, version) == 1 and 1 or 0
  for _, input in ipairs(refused == 0 and inputs or {}) do
    if redis.call('HEXISTS', known, input) == 1 then refused = 2 end
  end
  if refused == 0 then
    redis.call('HSET', log, version, body)
    redis.call('ZADD', order, version, version)
    for _, input in ipairs(inputs) do redis.call('HSET', known, input, version) end
    for _, target in ipairs(targets) do redis.call('ZADD', amended, 0, target) end
    redis.call('ZADD', KEYS[1], 0, 'known\31' .. conversation)
  end
  outcome[#outcome + 1] = refused
end
return outcome
