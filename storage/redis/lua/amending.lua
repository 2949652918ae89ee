-- Which commits amend messages. KEYS: a conversation's targets. ARGV: the messages. Returns versions.
local found, seen = {}, {}
for _, target in ipairs(ARGV) do
  for _, place in ipairs(redis.call('ZRANGEBYLEX', KEYS[1], '[' .. target .. '\31', '(' .. target .. '\32')) do
    local version = string.sub(place, #target + 2)
    if not seen[version] then
      seen[version] = true
      found[#found + 1] = version
    end
  end
end
return found
