-- Find positions in a list. KEYS: index, rows. ARGV: after which and before which, how many, how many to look at, what
-- ids begin with, what is wanted, then the lists that have all of it.
-- Returns the position to go on after (empty where the list ended), and those found.
local found, lists = {}, {}
for number = 7, #ARGV do lists[#lists + 1] = ARGV[number] end
local limit = tonumber(ARGV[3])
local last = walk(KEYS[1], KEYS[2], lists, ARGV[1], ARGV[2], tonumber(ARGV[4]), ARGV[5], ARGV[6], function(position)
  found[#found + 1] = position
  return #found == limit
end)
return {last, found}
