-- Load conversations. KEYS: heads, their rows, the index, then of each conversation its log and order.
-- ARGV: how many commits of each at most, then the conversations.
-- Returns for each: its latest session's id and head (both empty if there is none), and the versions and bodies of the
-- commits that are needed beside that head.
local found = {}
for number = 2, #ARGV do
  local conversation = ARGV[number]
  local log, order = KEYS[2 * number], KEYS[2 * number + 1]
  local list = 'latest\31' .. conversation .. '\31'
  local place = redis.call('ZRANGEBYLEX', KEYS[3], '[' .. list, '(' .. list .. '\255', 'LIMIT', 0, 1)[1]
  local session, head, first = '', '', 1
  if place then
    session = conversation .. '.' .. (999999999 - tonumber(string.sub(place, #list + 1)))
    head = redis.call('HGET', KEYS[1], session) or ''
    local row = row_of(KEYS[2], session)
    if row then first = tonumber(row.v) + (row.live and 1 or 0) end
  end
  local commits = {}
  for _, version in ipairs(redis.call('ZRANGEBYSCORE', order, first, '+inf', 'LIMIT', 0, ARGV[1])) do
    commits[#commits + 1] = version
    commits[#commits + 1] = redis.call('HGET', log, version)
  end
  found[#found + 1] = {session, head, commits}
end
return found
