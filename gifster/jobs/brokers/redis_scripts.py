"""The scripts that the Redis broker adds to Dramatiq's own, whose header explains the keys.

Those that make room again, as a worker must fetch a message to finish it, also run on a server
whose memory is full: it refuses a script at the first command that needs memory, unless the script
has written before. So they begin with a removal. A publication that the server's rules refuse
(ACL) keeps no message from its queue: consumers that hear nothing poll.
"""

#: Enqueues as Dramatiq's own script does (its header explains the keys), and wakes the consumers.
#: It leaves out the maintenance and the sign of life, which are the consumers' business. A message
#: that is sent again because only its answer was lost is there once.
ENQUEUE = """
if redis.call("hset", KEYS[1] .. ".msgs", ARGV[1], ARGV[2]) > 0 then
    redis.call("rpush", KEYS[1], ARGV[1])
end
redis.pcall("publish", KEYS[2], ARGV[3])
"""

# Servers before Redis 5 take no write after a script has read the clock, unless it sends the
# commands to its replicas, not itself (`replicate_commands`).

#: Before Dramatiq's own script: its timestamp, in milliseconds, is Redis's. A worker whose clock is
#: ahead would take all others for dead, and give back what they have fetched.
ITS_CLOCK = b"""
if redis.replicate_commands then redis.replicate_commands() end
local clock = redis.call("time")
ARGV[2] = clock[1] * 1000 + math.floor(clock[2] / 1000)
"""

#: Fetches as Dramatiq's own script does, without the maintenance; and acknowledges messages of the
#: same queue before that.
FETCH = """
if redis.replicate_commands then redis.replicate_commands() end
redis.call("srem", KEYS[3], "")
local clock = redis.call("time")
redis.call("zadd", KEYS[4], clock[1] * 1000 + math.floor(clock[2] / 1000), ARGV[1])
for i = 3, #ARGV do
    if redis.call("srem", KEYS[3], ARGV[i]) > 0 then
        redis.call("hdel", KEYS[2], ARGV[i])
    end
end
local ids = redis.call("lrange", KEYS[1], 0, ARGV[2] - 1)
if #ids == 0 then
    return ids
end
redis.call("ltrim", KEYS[1], #ids, -1)
redis.call("sadd", KEYS[3], unpack(ids))
return redis.call("hmget", KEYS[2], unpack(ids))
"""

#: Shows that a worker lives which fetches nothing, as it has all that it may have.
SHOW_LIFE = """
if redis.replicate_commands then redis.replicate_commands() end
redis.call("zrem", KEYS[1], "")
local clock = redis.call("time")
redis.call("zadd", KEYS[1], clock[1] * 1000 + math.floor(clock[2] / 1000), ARGV[1])
"""

#: Enqueues a delayed message whose time has come, and acknowledges it where it waited: once,
#: however often it is tried.
MOVE = """
if redis.call("srem", KEYS[3], ARGV[4]) > 0 then
    redis.call("hdel", KEYS[4], ARGV[4])
    redis.call("hset", KEYS[1] .. ".msgs", ARGV[1], ARGV[2])
    redis.call("rpush", KEYS[1], ARGV[1])
    redis.pcall("publish", KEYS[2], ARGV[3])
end
"""

#: Enqueues as `ENQUEUE` does, any number of messages of one queue, all of them or none.
ENQUEUE_MANY = """
if redis.call("hset", KEYS[1] .. ".msgs", unpack(ARGV, 2)) > 0 then
    local ids = {}
    for i = 2, #ARGV, 2 do
        ids[i / 2] = ARGV[i]
    end
    redis.call("rpush", KEYS[1], unpack(ids))
end
redis.pcall("publish", KEYS[2], ARGV[1])
"""

#: Does what Dramatiq's script does to requeue messages, but puts them first, and wakes the
#: consumers.
REQUEUE = """
for i = #ARGV, 2, -1 do
    if redis.call("srem", KEYS[3], ARGV[i]) > 0 and redis.call("hexists", KEYS[2], ARGV[i]) > 0 then
        redis.call("lpush", KEYS[1], ARGV[i])
    end
end
redis.pcall("publish", KEYS[4], ARGV[1])
"""

#: Moves a fetched message to the dead letters, as Dramatiq's own script does.
NACK = """
if redis.replicate_commands then redis.replicate_commands() end
if redis.call("srem", KEYS[1], ARGV[1]) > 0 then
    local message = redis.call("hget", KEYS[2], ARGV[1])
    if message then
        local clock = redis.call("time")
        redis.call("zadd", KEYS[3], clock[1] * 1000 + math.floor(clock[2] / 1000), ARGV[1])
        redis.call("hset", KEYS[4], ARGV[1], message)
        redis.call("hdel", KEYS[2], ARGV[1])
    end
end
"""
