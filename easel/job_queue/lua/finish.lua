-- Write what came of a job, if this worker still holds it and nothing else was written before.
-- KEYS: RQ job, record, owed ; ARGV: worker, job id, sealed result ; returns 1 when it stands there
-- The same words again are ours: the line was cut before the answer, and the client asked once more; by then RQ's books
-- may be closed.
if redis.pcall('HGET', KEYS[2], 'result') == ARGV[3] then return 1 end
local f = redis.pcall('HMGET', KEYS[1], 'status', 'worker_name')
if f[1] ~= 'started' or f[2] ~= ARGV[1] or redis.call('EXISTS', KEYS[2]) == 0 then return 0 end
if redis.pcall('HSETNX', KEYS[2], 'result', ARGV[3]) ~= 1 then return 0 end
redis.pcall('ZADD', KEYS[3], 'XX', 0, ARGV[2])
return 1
