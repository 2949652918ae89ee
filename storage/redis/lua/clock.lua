-- The store's clock, in milliseconds from 1970.
local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function text(milliseconds)
  return string.format('%.0f', milliseconds)
end
