-- Put jobs of a dead worker back to the front of the line.
-- KEYS: RQ's list, RQ's intermediate queue, RQ's started registry
-- ARGV: RQ root, record prefix, worker name ('' = every execution whose lease ran out), refund (1: the try does not
--       count), seconds after which a claim without an execution is given up
-- Returns the ids put back.
local list, intermediate, started = KEYS[1], KEYS[2], KEYS[3]
local root, records, worker, refund, age = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1e6
local back = {}

local function give_back(id)
  local job = root .. ':job:' .. id
  local f = redis.call('HMGET', job, 'status', 'worker_name')
  redis.call('LREM', intermediate, 0, id)
  if f[1] ~= 'started' or (worker ~= '' and f[2] ~= worker) then return end
  redis.call('HSET', job, 'status', 'queued')
  redis.call('HDEL', job, 'worker_name')
  redis.call('HDEL', records .. id, 'step', 'total')
  if refund == 1 then redis.call('HINCRBY', records .. id, 'attempts', -1) end
  redis.call('LPUSH', list, id)
  back[#back + 1] = id
end

local executions
if worker ~= '' then
  executions = redis.call('SMEMBERS', root .. ':worker:' .. worker .. ':executions')
else
  executions = redis.call('ZRANGEBYSCORE', started, 0, now)
end
for _, composite in ipairs(executions) do
  local id, execution = string.match(composite, '^(.-):(.+)$')
  if id then
    redis.call('ZREM', started, composite)
    redis.call('DEL', root .. ':execution:' .. composite)
    redis.call('ZREM', root .. ':executions:' .. id, execution)
    give_back(id)
  end
end
if worker ~= '' then redis.call('DEL', root .. ':worker:' .. worker .. ':executions') end

-- Claimed, but dead before the execution was written down.
for _, id in ipairs(redis.call('LRANGE', intermediate, 0, -1)) do
  local claimed = tonumber(redis.call('HGET', records .. id, 'claimed_at') or 0)
  local owner = redis.call('HGET', root .. ':job:' .. id, 'worker_name')
  if (worker ~= '' and owner == worker) or (worker == '' and now - claimed > age) then give_back(id) end
end
return back
