-- Take the head of the line and the jobs that fit beside it. The only scheduler.
-- KEYS: RQ's list, RQ's intermediate queue
-- ARGV: RQ root, record prefix, worker, room in pictures, batch key to join ('' = any), window
-- Returns the ids taken, head first. Anybody may have written into these keys: what is no job of ours is left out.
local list, intermediate = KEYS[1], KEYS[2]
local root, records, worker = ARGV[1], ARGV[2], ARGV[3]
local room, batch, window = tonumber(ARGV[4]), ARGV[5], tonumber(ARGV[6])
local patience = 8 -- so often a job is overtaken; after that nobody joins until it has had its turn
local head = batch == ''
local taken, passed = {}, nil
local now = redis.call('TIME')

local function take(id)
  local job, record = root .. ':job:' .. id, records .. id
  redis.call('RPUSH', intermediate, id)
  redis.call('LREM', list, 1, id)
  redis.call('HSET', job, 'status', 'started', 'worker_name', worker)
  redis.call('DEL', root .. ':executions:' .. id) -- nobody runs what stands in line
  if redis.call('EXISTS', record) == 1 then
    redis.pcall('HSET', record, 'claimed_at', now[1] .. '.' .. string.format('%06d', now[2]))
    if type(redis.pcall('HINCRBY', record, 'attempts', 1)) == 'table' then
      redis.pcall('HSET', record, 'attempts', 1)
    end
  end
  taken[#taken + 1] = id
end

for _, id in ipairs(redis.call('LRANGE', list, 0, window - 1)) do
  if #id > 40 or not string.match(id, '^[%w_-]+$')
    or redis.pcall('HGET', root .. ':job:' .. id, 'status') ~= 'queued' then
    redis.call('LREM', list, 1, id) -- cancelled, deleted, or the second entry of a job that runs
  else
    local f = redis.pcall('HMGET', records .. id, 'batch', 'n', 'attempts', 'overtaken')
    local key, n, attempts = f[1] or '', math.max(1, tonumber(f[2] or 1) or 1), tonumber(f[3] or 0) or 0
    -- A job that already saw a worker die runs alone, so that it can not take others down with it.
    if head or (key == batch and n <= room and attempts == 0) then
      take(id)
      if passed then redis.pcall('HINCRBY', records .. passed, 'overtaken', 1) end
      room = room - n
      if attempts > 0 then break end
      head, batch = false, key
    elseif not passed then
      passed = id
      if (tonumber(f[4] or 0) or 0) >= patience then break end
    end
    if room <= 0 then break end
  end
end
return taken
