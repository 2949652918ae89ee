-- What several scripts do with documents.
--
-- A document has a body, which only clients read, and a row of what scripts need of it, as JSON:
--   v  its version, as digits of one length      x  its places in the index
--   f  its fields that lists are filtered by     t  its tags
-- A place in the index is `<list><position>`, and a position begins with 15 digits by which the list is sorted; what
-- follows them names the document.

local POSITION = 15

local function row_of(rows, id)
  local text = redis.call('HGET', rows, id)
  if not text then return nil end
  local readable, row = pcall(cjson.decode, text)
  return readable and row or nil
end

local function move(index, before, after)
  local stays = {}
  for _, place in ipairs(after) do stays[place] = true end
  for _, place in ipairs(before) do
    if not stays[place] then redis.call('ZREM', index, place) end
  end
  for _, place in ipairs(after) do redis.call('ZADD', index, 0, place) end
end

local function id_at(position, id_prefix)
  return id_prefix .. string.sub(position, POSITION + 1)
end

local function selects(wanted, row)
  for name, value in pairs(wanted['is'] or {}) do
    if row.f[name] ~= value then return false end
  end
  for name, value in pairs(wanted['not'] or {}) do
    if row.f[name] == value then return false end
  end
  for name, values in pairs(wanted['among'] or {}) do
    local among = false
    for _, value in ipairs(values) do among = among or row.f[name] == value end
    if not among then return false end
  end
  for _, tag in ipairs(wanted['tags'] or {}) do
    local tagged = false
    for _, one in ipairs(row.t or {}) do tagged = tagged or one == tag end
    if not tagged then return false end
  end
  return true
end

-- Call `look(position, row)` for what `wanted` selects (JSON; all, without its rows, if empty) of the shortest of some
-- lists, from after a position up to one that has to be below `ends`. It goes on until `look` returns true, the list
-- ends, or `most` were looked at. Returns the position to go on after; empty where the list ended.
local function walk(index, rows, lists, after, ends, most, id_prefix, wanted, look)
  local list, fewest = lists[1], nil
  for _, one in ipairs(#lists > 1 and lists or {}) do
    local count = redis.call('ZLEXCOUNT', index, '[' .. one, '(' .. one .. '\255')
    if not fewest or count < fewest then list, fewest = one, count end
  end
  local choice = wanted ~= '' and cjson.decode(wanted) or nil
  local first = after == '' and '[' .. list or '(' .. list .. after
  local last = '(' .. list .. (ends == '' and '\255' or ends)
  local looked = 0
  while looked < most do
    local places = redis.call('ZRANGEBYLEX', index, first, last, 'LIMIT', 0, math.min(200, most - looked))
    if #places == 0 then return '' end
    for _, place in ipairs(places) do
      looked = looked + 1
      after = string.sub(place, #list + 1)
      local row = choice and row_of(rows, id_at(after, id_prefix)) or nil
      if not choice or (row and selects(choice, row)) then
        if look(after, row) then return after end
      end
    end
    first = '(' .. places[#places]
  end
  return after
end
