-- Take a waiting job out of the line for good; ask the worker of a running one to stop.
-- KEYS: RQ's list, RQ job, record, owed ; ARGV: job id, sealed failure, seconds RQ still shows it
-- Returns 'cancelled', 'asked' or 'over'.
local status = redis.call('HGET', KEYS[2], 'status')
if redis.call('HEXISTS', KEYS[3], 'result') == 1 then return 'over' end
if status == 'queued' then
  redis.call('LREM', KEYS[1], 0, ARGV[1])
  redis.call('HSET', KEYS[2], 'status', 'canceled')
  redis.call('EXPIRE', KEYS[2], ARGV[3])
  redis.call('HSET', KEYS[3], 'result', ARGV[2])
  redis.call('ZADD', KEYS[4], 'XX', 0, ARGV[1])
  return 'cancelled'
end
if status == 'started' then
  -- The worker may die before it hears of it, or not be listening: whoever holds the job finds this.
  redis.call('HSET', KEYS[3], 'stop', 1)
  return 'asked'
end
return 'over'
