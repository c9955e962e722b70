"""Removes the messages of dropped jobs from their queue in Redis.

A message is found by the row that it names, so a queue is read from its head, a part in each round
trip: the server is busy with each for a few ms at most. Messages that workers have fetched are not
in the queue any more; the workers skip them.
"""

from collections.abc import Collection
from typing import Any

import redis
from dramatiq.common import dq_name

#: How many messages are looked at in a round trip.
PART = 500

#: Looks at the messages from a place in the queue, and removes from the list and the hash, in one
#: step, those that name one of the rows. Returns how many, and the place to go on; -1 at the end.
#: A worker may fetch from the head between two parts: it then shifts messages to places that were
#: read already, where they stay until a worker skips them.
_REMOVE = """
local queue, messages = KEYS[1], KEYS[2]
local start, most = tonumber(ARGV[1]), tonumber(ARGV[2])
local wanted = {}
for i = 3, #ARGV do
    wanted[ARGV[i]] = true
end

local function row_of(data)
    if not data or not string.find(data, '"outbox_id"', 1, true) then
        return nil
    end
    local read, message = pcall(cjson.decode, data)
    return read and type(message) == "table" and type(message.options) == "table"
        and message.options.outbox_id
end

local ids = redis.call("lrange", queue, start, start + most - 1)
if #ids == 0 then
    return {0, -1}
end
local found = {}
for i, data in ipairs(redis.call("hmget", messages, unpack(ids))) do
    local row = row_of(data)
    if row and wanted[row] then
        redis.call("lset", queue, start + i - 1, "")
        found[#found + 1] = ids[i]
    end
end
if #found > 0 then
    redis.call("lrem", queue, 0, "")
    redis.call("hdel", messages, unpack(found))
end
return {#found, #ids == most and start + #ids - #found or -1}
"""


class Removal:
    """Removes messages from the queues of one broker.

    Parameters:
      client: the Redis client.
      namespace: the prefix of the broker's keys.
    """

    def __init__(self, client: redis.Redis, namespace: str) -> None:
        self._namespace = namespace
        self._script = client.register_script(_REMOVE)

    def remove(self, queue: str, rows: Collection[str]) -> int:
        """Remove the messages that name one of these rows of the outbox, also those that wait there
        for a later moment.

        Returns:
          how many messages were removed.

        Raises:
          redis.RedisError
        """
        left = len(rows)
        for name in (queue, dq_name(queue)):
            place = 0
            while left > 0 and place >= 0:
                keys = [f"{self._namespace}:{name}", f"{self._namespace}:{name}.msgs"]
                answer: Any = self._script(keys=keys, args=[place, PART, *rows])
                removed, place = answer
                left -= removed
        return len(rows) - max(left, 0)
