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

-- A key may hold anything: what is not of the kind we expect counts as empty.
local function read(...)
  local found = redis.pcall(...)
  if type(found) == 'table' and found.err then return {} end
  return found
end

local function give_back(id)
  local job = root .. ':job:' .. id
  local f = read('HMGET', job, 'status', 'worker_name')
  redis.call('LREM', intermediate, 0, id)
  if f[1] ~= 'started' or (worker ~= '' and f[2] ~= worker) then return end
  redis.call('LPUSH', list, id)
  redis.call('HSET', job, 'status', 'queued')
  redis.call('HDEL', job, 'worker_name')
  redis.pcall('HDEL', records .. id, 'step', 'total')
  if refund == 1 then redis.pcall('HINCRBY', records .. id, 'attempts', -1) end
  back[#back + 1] = id
end

local executions = {}
if worker ~= '' then
  executions = read('SMEMBERS', root .. ':worker:' .. worker .. ':executions')
else
  for _, composite in ipairs(read('ZRANGE', started, 0, -1)) do
    -- An execution's key lives as long as its lease, by this clock; the score was set by the worker's own.
    if redis.call('EXISTS', root .. ':execution:' .. composite) == 0 then executions[#executions + 1] = composite end
  end
end
for _, composite in ipairs(executions) do
  redis.pcall('ZREM', started, composite)
  local id, execution = string.match(composite, '^(.-):(.+)$')
  if id then
    redis.call('DEL', root .. ':execution:' .. composite)
    redis.pcall('ZREM', root .. ':executions:' .. id, execution)
    give_back(id)
  end
end
if worker ~= '' then redis.call('DEL', root .. ':worker:' .. worker .. ':executions') end

-- Claimed, but dead before the execution was written down.
for _, id in ipairs(read('LRANGE', intermediate, 0, -1)) do
  local claimed = tonumber(read('HMGET', records .. id, 'claimed_at')[1] or 0) or 0
  local owner = read('HMGET', root .. ':job:' .. id, 'worker_name')[1]
  if (worker ~= '' and owner == worker) or (worker == '' and now - claimed > age) then give_back(id) end
end
return back
