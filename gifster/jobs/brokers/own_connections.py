"""Commands to Redis on a connection of the calling thread.

To get a connection from redis-py's pool, have it checked, and put it back takes longer than a
message does. So each thread keeps one. A command whose answer did not arrive closes it.
"""

import os
import threading
from collections.abc import Sequence
from typing import Any

import redis


class OwnConnections:
    """A connection for each thread of this process.

    Parameters:
      client: the Redis client, whose pool opens the connections.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._own = _OwnClient()

    def call(self, script: Any, keys: list[Any], arguments: list[Any]) -> Any:
        """Call a script on the connection of this thread.

        Raises:
          redis.RedisError: also if only the answer was lost.
        """
        try:
            connection = self.connection()
            connection.send_packed_command(
                [_packed("EVALSHA", script.sha, len(keys), *keys, *arguments)]
            )
            return connection.read_response()
        except redis.exceptions.NoScriptError:  # the server was restarted
            return script(keys=keys, args=arguments)
        except BaseException:
            self._drop()  # its answer may still arrive on it
            raise

    def transact(self, commands: Sequence[Sequence[str | bytes]]) -> None:
        """Carry out a transaction on the connection of this thread.

        Raises:
          redis.RedisError: of the first command that failed; also if only the answer was lost.
        """
        try:
            connection = self.connection()
            every = [("MULTI",), *commands, ("EXEC",)]
            connection.send_packed_command([b"".join(_packed(*each) for each in every)])
            answers = [_answer(connection) for _ in every]
        except BaseException:
            self._drop()
            raise
        last = answers.pop()
        for answer in [*answers, *(last if isinstance(last, list) else [last])]:
            if isinstance(answer, redis.RedisError):
                raise answer

    def connection(self) -> Any:
        """This thread's own connection."""
        own = self._own
        if own.client is None or own.pid != os.getpid():
            own.client, own.pid = self._client.client(), os.getpid()  # type: ignore[no-untyped-call]
        return own.client.connection

    def _drop(self) -> None:
        client, self._own.client = self._own.client, None
        if client is not None:
            client.connection.disconnect()


def _answer(connection: Any) -> Any:
    """The next answer, or the error that it is."""
    try:
        return connection.read_response()
    except redis.ResponseError as error:
        return error


def _packed(*words: str | bytes | int) -> bytes:
    """A command as it is sent to Redis (RESP, "Sending commands to a Redis server"). redis-py makes
    many pieces of a long one, and each is a system call."""
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        data = word if isinstance(word, bytes) else str(word).encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(parts)


class _OwnClient(threading.local):
    """A thread's client of one connection, and the process that opened it."""

    client: Any = None
    pid: int | None = None
