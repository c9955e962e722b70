"""Puts messages back into their queue that Redis has, and that nobody would ever get.

A server that evicts keys removes a queue, or a worker's set of fetched messages, and keeps the
messages themselves. A script finds that by comparing three numbers. The other way round, an id
whose message is gone leaves with the next fetch.
"""

from typing import Any

import redis
from dramatiq.common import dq_name

#: Puts the messages into the queue that are neither there nor with a worker (Dramatiq's script
#: explains the keys). Usually it only compares numbers. Returns how many it has put back.
_MEND = """
local function fetched(command)
    local all = {}
    for i, worker in ipairs(redis.call("zrange", KEYS[3], 0, -1)) do
        all[i] = redis.call(command, ARGV[1] .. worker .. "." .. ARGV[2])
    end
    return all
end

local placed = redis.call("llen", KEYS[1])
for _, count in ipairs(fetched("scard")) do
    placed = placed + count
end
if redis.call("hlen", KEYS[2]) <= placed then
    return 0
end
local has_place = {}
for _, ids in ipairs({redis.call("lrange", KEYS[1], 0, -1), unpack(fetched("smembers"))}) do
    for _, id in ipairs(ids) do
        has_place[id] = true
    end
end
local count = 0
for _, id in ipairs(redis.call("hkeys", KEYS[2])) do
    if not has_place[id] then
        redis.call("rpush", KEYS[1], id)
        count = count + 1
    end
end
redis.pcall("publish", KEYS[4], ARGV[2])
return count
"""


class Mending:
    """Mends the queues of one broker.

    Parameters:
      client: the Redis client.
      namespace: the prefix of the broker's keys.
      channel: where the consumers are woken up.
    """

    def __init__(self, client: redis.Redis, namespace: str, channel: str) -> None:
        self._namespace, self._channel = namespace, channel
        self._script = client.register_script(_MEND)

    def mend(self, queue: str) -> int:
        """Put messages back into a queue, and into that of its delayed messages.

        Returns:
          how many messages.

        Raises:
          redis.RedisError
        """
        count = 0
        for name in (queue, dq_name(queue)):
            full = f"{self._namespace}:{name}"
            keys = [full, f"{full}.msgs", f"{self._namespace}:__heartbeats__", self._channel]
            answer: Any = self._script(keys=keys, args=[f"{self._namespace}:__acks__.", name])
            count += int(answer)
        return count
