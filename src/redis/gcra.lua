-- GCRA: reserves a slot of a bucket. All times are in microseconds, on the clock of the server.
-- KEYS[1]: the bucket. Its value is the time at which it is full again, and the time between two slots until then. It
-- expires when it is full.
-- ARGV: the time between two slots; how long before its regular time a request may come; the longest wait.
-- Returns whether the slot is reserved, and the time until it is due, or until the next one is free.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval, tolerance, longest = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local full_at = now
local kept = redis.call('GET', KEYS[1])
if kept then
  local at, before = string.match(kept, '^(%d+) (%d+)$')
  if not at then
    return redis.error_reply('ERR the key of a bucket has another value')
  end
  -- After a change of the rate, the same number of slots is missing.
  full_at = now + math.max(tonumber(at) - now, 0) / tonumber(before) * interval
end
local wait = math.ceil(math.max(full_at - tolerance - now, 0))
if wait > longest then
  return {0, wait}
end
full_at = full_at + interval
local left = math.ceil((full_at - now) / 1000)
redis.call('SET', KEYS[1], string.format('%.0f %.0f', full_at, interval), 'PX', string.format('%.0f', left))
return {1, wait}
