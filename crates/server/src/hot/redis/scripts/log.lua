-- Appends entries to the nodes' log and drops what is older than it reaches.
-- KEYS: log. ARGV: reach and time to live in seconds, then the entries.
local now = tonumber(redis.call('TIME')[1])
local floor = string.format('%d000', now - tonumber(ARGV[1]))
for i = 3, #ARGV do
  redis.call('XADD', KEYS[1], 'MINID', '~', floor, '*', 'e', ARGV[i])
end
redis.call('EXPIRE', KEYS[1], ARGV[2])
return 0
