-- Take a waiting job out of the line for good; ask the worker of a running one to stop.
-- KEYS: RQ's list, RQ job, record, owed ; ARGV: job id, sealed failure
-- Returns 'cancelled', 'asked' or 'over'.
local status = redis.call('HGET', KEYS[2], 'status')
if redis.call('HEXISTS', KEYS[3], 'result') == 1 then return 'over' end
if status == 'queued' then
  redis.call('LREM', KEYS[1], 0, ARGV[1])
  redis.call('HSET', KEYS[2], 'status', 'canceled')
  redis.call('HSET', KEYS[3], 'result', ARGV[2])
  redis.call('ZADD', KEYS[4], 'XX', 0, ARGV[1])
  return 'cancelled'
end
if status == 'started' then return 'asked' end
return 'over'
