-- Take the jobs whose message is due for a look; they come up again after the lease unless told otherwise.
-- KEYS: owed ; ARGV: how many, lease in seconds ; returns job ids
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1e6
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1])
for _, id in ipairs(due) do redis.call('ZADD', KEYS[1], 'XX', now + tonumber(ARGV[2]), id) end
return due
