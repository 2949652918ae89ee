-- Add up what is in a list, by status. KEYS and ARGV as of find.lua; how many are found does not matter.
-- Returns the position to go on after, and of each status: its name, how many, their messages, their milliseconds.
local sums, lists, told = {}, {}, {}
for number = 7, #ARGV do lists[#lists + 1] = ARGV[number] end
local last = walk(KEYS[1], KEYS[2], lists, ARGV[1], ARGV[2], tonumber(ARGV[4]), ARGV[5], ARGV[6], function(_, row)
  local of = sums[row.f.status] or {0, 0, 0}
  sums[row.f.status] = {of[1] + 1, of[2] + row.m, of[3] + row.l}
end)
for status, of in pairs(sums) do
  told[#told + 1] = status
  for _, number in ipairs(of) do told[#told + 1] = string.format('%.0f', number) end
end
return {last, told}
