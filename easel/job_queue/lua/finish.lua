-- Write what came of a job, if this worker still holds it and nothing was written before.
-- KEYS: RQ job, record, owed ; ARGV: worker, job id, sealed result ; returns 1 when written
local f = redis.call('HMGET', KEYS[1], 'status', 'worker_name')
if f[1] ~= 'started' or f[2] ~= ARGV[1] then return 0 end
if redis.call('HSETNX', KEYS[2], 'result', ARGV[3]) == 0 then return 0 end
redis.call('ZADD', KEYS[3], 'XX', 0, ARGV[2])
return 1
