-- Take the head of the line and the jobs that fit beside it. The only scheduler.
-- KEYS: RQ's list, RQ's intermediate queue
-- ARGV: RQ job prefix, record prefix, worker, room in pictures, batch key to join ('' = any), window
-- Returns the ids taken, head first.
local list, intermediate = KEYS[1], KEYS[2]
local jobs, records, worker = ARGV[1], ARGV[2], ARGV[3]
local room, batch, window = tonumber(ARGV[4]), ARGV[5], tonumber(ARGV[6])
local taken = {}
local now = redis.call('TIME')

for _, id in ipairs(redis.call('LRANGE', list, 0, window - 1)) do
  if redis.call('HGET', jobs .. id, 'status') ~= 'queued' then
    redis.call('LREM', list, 1, id) -- cancelled, deleted, or the second entry of a job that runs
  else
    local f = redis.call('HMGET', records .. id, 'batch', 'n', 'attempts')
    local key, n, attempts = f[1] or '', tonumber(f[2] or 1), tonumber(f[3] or 0)
    local head = batch == ''
    -- A job that already saw a worker die runs alone, so that it can not take others down with it.
    if head or (key == batch and n <= room and attempts == 0) then
      redis.call('LREM', list, 1, id)
      redis.call('RPUSH', intermediate, id)
      redis.call('HSET', jobs .. id, 'status', 'started', 'worker_name', worker)
      redis.call('HSET', records .. id, 'claimed_at', now[1] .. '.' .. string.format('%06d', now[2]))
      redis.call('HINCRBY', records .. id, 'attempts', 1)
      taken[#taken + 1] = id
      room = room - n
      if attempts > 0 then break end
      batch = key
    end
    if room <= 0 then break end
  end
end
return taken
