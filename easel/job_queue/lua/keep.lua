-- Keep a picture that was given to us, and drop those that were longest not used where all are too much together.
-- KEYS: blob, kept ; ARGV: name, bytes, seconds to live, bytes for all, prefix of blobs, seconds that each is spared
local now = tonumber(redis.call('TIME')[1])
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
redis.call('ZADD', KEYS[2], now, ARGV[1])
local total = 0
local newest_first = redis.call('ZREVRANGE', KEYS[2], 0, -1, 'WITHSCORES')
for at = 1, #newest_first, 2 do
  local name, used = newest_first[at], tonumber(newest_first[at + 1])
  local size = redis.pcall('STRLEN', ARGV[5] .. name)
  total = total + (tonumber(size) or 0)
  if size == 0 or type(size) == 'table' then
    redis.call('ZREM', KEYS[2], name) -- it has run out, or is none of ours
  elseif total > tonumber(ARGV[4]) and used < now - tonumber(ARGV[6]) then
    redis.call('UNLINK', ARGV[5] .. name)
    redis.call('ZREM', KEYS[2], name)
  end
end
