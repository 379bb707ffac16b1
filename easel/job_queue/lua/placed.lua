-- Hand a door's placeholder over to delivery, unless delivery has taken the message over meanwhile.
-- KEYS: record, lock on the message, owed ; ARGV: job id, message id ; returns 1 when it is the job's message now
local holder = redis.call('GET', KEYS[2])
if holder and holder ~= 'gateway' then return 0 end
if redis.call('EXISTS', KEYS[1]) == 0 or (not holder and redis.call('HEXISTS', KEYS[1], 'message') == 1) then return 0 end
redis.call('HSET', KEYS[1], 'message', ARGV[2])
redis.call('DEL', KEYS[2])
redis.call('ZADD', KEYS[3], 'XX', 0, ARGV[1])
return 1
