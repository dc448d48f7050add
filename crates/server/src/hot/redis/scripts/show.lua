-- Shows a command among its device's newest ones and as its socket's last.
-- KEYS: the device's list, the socket's last. ARGV: command id, state, time to
-- live, most in the list, then fields and values by turns.
-- Ids sort by their time; another node's older news changes nothing.
local id = ARGV[1]
local list = redis.call('LRANGE', KEYS[1], 0, -1)
local place = #list + 1
for i = #list, 1, -1 do
  if list[i] == id then
    place = 0
    break
  elseif list[i] < id then
    place = i
  end
end
if place == #list + 1 then
  redis.call('RPUSH', KEYS[1], id)
elseif place > 0 then
  redis.call('LINSERT', KEYS[1], 'BEFORE', list[place], id)
end
redis.call('LTRIM', KEYS[1], 0, tonumber(ARGV[4]) - 1)
redis.call('PEXPIRE', KEYS[1], ARGV[3])
local last = redis.call('HMGET', KEYS[2], 'cmdId', 'state')
local newer = not last[1] or last[1] < id
local moved = last[1] == id and (last[2] == 'pending' or ARGV[2] ~= 'pending')
if newer or moved then
  redis.call('DEL', KEYS[2])
  redis.call('HSET', KEYS[2], unpack(ARGV, 5))
  redis.call('PEXPIRE', KEYS[2], ARGV[3])
end
return 0
