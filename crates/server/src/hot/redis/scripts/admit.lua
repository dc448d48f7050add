-- Takes places in a device's sliding window of one second, by the server's clock.
-- KEYS: rate. ARGV: how many places are wanted, how many there are.
-- Returns one number per wanted place: 0 where it was taken, else the
-- microseconds until there is room.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local taken = {}
for at in string.gmatch(redis.call('GET', KEYS[1]) or '', '%d+') do
  if tonumber(at) + 1000000 > now then
    table.insert(taken, at)
  end
end
local answers = {}
for _ = 1, tonumber(ARGV[1]) do
  if #taken < tonumber(ARGV[2]) then
    table.insert(taken, string.format('%d', now))
    table.insert(answers, 0)
  else
    table.insert(answers, tonumber(taken[1]) + 1000000 - now)
  end
end
redis.call('SET', KEYS[1], table.concat(taken, ' '), 'PX', 1000)
return answers
