-- Keep or leave the lock on a message, if it is still ours.
-- KEYS: the lock ; ARGV: whose, seconds to keep it (0: leave it) ; returns 1 when it was ours
if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] == '0' then redis.call('DEL', KEYS[1]) else redis.call('EXPIRE', KEYS[1], ARGV[2]) end
return 1
