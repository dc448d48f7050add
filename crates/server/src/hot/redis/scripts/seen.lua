-- Keeps the newer of two moments. KEYS: lastSeen. ARGV: unix ms, time to live.
local was = redis.call('GET', KEYS[1])
if not was or tonumber(was) < tonumber(ARGV[1]) then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
return 0
