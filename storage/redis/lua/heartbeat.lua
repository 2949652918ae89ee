-- Record a heartbeat, or none, and tell who lives. KEYS: a group's members, when each was seen, and names.
-- ARGV: milliseconds that a heartbeat counts, and then the member's id, what it says, after how many milliseconds those
-- not seen are forgotten, and what stands among the names for the group. Returns of each its id, when it was seen, and
-- what it says.
local time = now()
local own = ARGV[2]
if own then
  redis.call('HSET', KEYS[1], own, ARGV[3])
  redis.call('ZADD', KEYS[2], text(time), own)
  redis.call('ZADD', KEYS[3], 0, ARGV[5])
  for _, one in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', '(' .. text(time - ARGV[4]))) do
    if one ~= own then
      redis.call('HDEL', KEYS[1], one)
      redis.call('ZREM', KEYS[2], one)
    end
  end
end
local found = {}
local seen = redis.call('ZRANGEBYSCORE', KEYS[2], text(time - ARGV[1]), '+inf', 'WITHSCORES')
for at = 1, #seen, 2 do
  local said = redis.call('HGET', KEYS[1], seen[at])
  if said then found[#found + 1] = {seen[at], seen[at + 1], said} end
end
return found
