-- Read a document by its id. KEYS: the hashes to read. ARGV: the id. Returns what each has of it, or false.
local parts = {}
for _, key in ipairs(KEYS) do parts[#parts + 1] = redis.call('HGET', key, ARGV[1]) end
return parts
