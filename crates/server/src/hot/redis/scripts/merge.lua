-- Replaces runs of a ring by the same samples in fewer runs, if nobody else
-- changed them; what was appended meanwhile stays behind them.
-- KEYS: ring. ARGV: time to live, index of the first replaced run, how many
-- are replaced, those as they were read, then the new ones.
local first = tonumber(ARGV[2])
local count = tonumber(ARGV[3])
local now = redis.call('LRANGE', KEYS[1], first, -1)
if #now < count then
  return 0
end
for i = 1, count do
  if now[i] ~= ARGV[3 + i] then
    return 0
  end
end
if first == 0 then
  redis.call('DEL', KEYS[1])
else
  redis.call('LTRIM', KEYS[1], 0, first - 1)
end
for i = 4 + count, #ARGV do
  redis.call('RPUSH', KEYS[1], ARGV[i])
end
for i = count + 1, #now do
  redis.call('RPUSH', KEYS[1], now[i])
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 1
