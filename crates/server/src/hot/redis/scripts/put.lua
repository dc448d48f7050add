-- Appends a run to a device's ring and keeps the newest reading of each socket.
-- KEYS: ring, latest. ARGV: device key, ring's time to live, latest's time to
-- live, most runs, run (may be empty), then socket and reading by turns.
-- What another device of the same name left goes first. (Only then: a server
-- short of memory refuses a script that begins with anything but a DEL.)
local owner = redis.call('HGET', KEYS[2], 'key')
if owner ~= ARGV[1] then
  if owner or redis.call('EXISTS', KEYS[1]) == 1 then
    redis.call('DEL', KEYS[1], KEYS[2])
  end
  redis.call('HSET', KEYS[2], 'key', ARGV[1])
end
local runs = 0
if ARGV[5] ~= '' then
  runs = redis.call('RPUSH', KEYS[1], ARGV[5])
  if runs > tonumber(ARGV[4]) then
    redis.call('LTRIM', KEYS[1], -tonumber(ARGV[4]), -1)
  end
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
for i = 6, #ARGV, 2 do
  local was = redis.call('HGET', KEYS[2], ARGV[i])
  local at = tonumber(string.match(ARGV[i + 1], '^%-?%d+'))
  if not was or tonumber(string.match(was, '^%-?%d+')) < at then
    redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
  end
end
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return runs
