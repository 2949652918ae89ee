-- Read commits. KEYS: a conversation's log and order. ARGV: first and last version, how many at most, 1 for newest first,
-- and after how many bytes to end early.
-- Returns whether they are all, and versions and bodies in turn; a body that is missing is false.
local found, size = {}, 0
local versions
if ARGV[4] == '1' then
  versions = redis.call('ZREVRANGEBYSCORE', KEYS[2], ARGV[2], ARGV[1], 'LIMIT', 0, ARGV[3])
else
  versions = redis.call('ZRANGEBYSCORE', KEYS[2], ARGV[1], ARGV[2], 'LIMIT', 0, ARGV[3])
end
for _, version in ipairs(versions) do
  local body = redis.call('HGET', KEYS[1], version)
  found[#found + 1] = version
  found[#found + 1] = body
  size = size + (body and #body or 0)
  if size >= tonumber(ARGV[5]) then break end
end
return {#found == 2 * #versions and 1 or 0, found}
