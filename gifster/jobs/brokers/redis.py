"""Dramatiq's Redis broker with what Sidekiq has: weighted queues, and jobs that start at once.

An enqueue wakes the consumers (`wake_up.py`), which hand a message over when the fair scheduler
gives it a thread (`redis_consumer.py`). Acknowledgements travel together (`acks.py`). Dramatiq's
worker is unchanged.
"""

import itertools
import os
import threading
import time
import uuid
from collections.abc import Iterable, Sequence
from typing import Any

import dramatiq
import redis
from dramatiq.brokers import redis as dramatiq_redis
from dramatiq.common import dq_name

from gifster.jobs.brokers.acks import Acks
from gifster.jobs.brokers.base import FairBroker
from gifster.jobs.brokers.in_hand import InHand
from gifster.jobs.brokers.redis_consumer import LOOK_EVERY_S, Consumer
from gifster.jobs.brokers.removal import Removal
from gifster.jobs.brokers.wake_up import WakeUp
from gifster.jobs.hooks import QuickHooks

#: How many messages travel in one round trip.
BATCH = 500

#: Enqueues as Dramatiq's own script does (its header explains the keys), and wakes the consumers.
#: It leaves out the maintenance and the sign of life, which are the consumers' business. A message
#: that is sent again because only its answer was lost is there once.
_ENQUEUE = """
if redis.call("hset", KEYS[1] .. ".msgs", ARGV[1], ARGV[2]) > 0 then
    redis.call("rpush", KEYS[1], ARGV[1])
end
redis.call("publish", KEYS[2], ARGV[3])
"""

#: Enqueues a delayed message whose time has come, and acknowledges it where it waited: once,
#: however often it is tried.
_MOVE = """
if redis.call("srem", KEYS[3], ARGV[4]) > 0 then
    redis.call("hdel", KEYS[4], ARGV[4])
    redis.call("hset", KEYS[1] .. ".msgs", ARGV[1], ARGV[2])
    redis.call("rpush", KEYS[1], ARGV[1])
    redis.call("publish", KEYS[2], ARGV[3])
end
"""


class RedisBroker(FairBroker, QuickHooks, dramatiq_redis.RedisBroker):
    """A broker that shares threads by weight, and wakes its consumers.

    Parameters:
      options: as for `FairBroker` and Dramatiq's `RedisBroker`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._channel = f"{self.namespace}:wake-up"
        self.wake_up = WakeUp(self.client, self._channel)
        self.acks = Acks(self.client, self.namespace, self.broker_id)
        self.in_hand = InHand(self)
        self.remove = Removal(self.client, self.namespace).remove
        self._maintained = threading.local()
        self._enqueue = self.client.register_script(_ENQUEUE)
        self._move = self.client.register_script(_MOVE)
        self._own = _OwnClient()
        self._moved = _Moved()

    @property
    def consumer_class(self) -> type[Consumer]:
        return Consumer

    def _should_do_maintenance(self, command: str) -> int:
        """Whether a command also gives back what dead workers had fetched, and deletes old dead
        letters: for each queue one fetch every `LOOK_EVERY_S`. Dramatiq leaves that to chance
        (`maintenance_chance`), which takes minutes on a quiet system."""
        last = getattr(self._maintained, "at", 0.0)  # a thread fetches from one queue only
        if command == "fetch" and time.monotonic() - last >= LOOK_EVERY_S * 0.9:
            self._maintained.at = time.monotonic()
            return 1
        return int(super()._should_do_maintenance(command))

    def enqueue_many(self, messages: Iterable[dramatiq.Message[Any]]) -> int:
        """Enqueue messages, `BATCH` of them in a round trip (Sidekiq's `push_bulk`).

        Returns:
          how many messages there were.

        Raises:
          Exception: why the first message that could not be enqueued was not.
        """
        count = 0
        waiting = iter(messages)
        while batch := list(itertools.islice(waiting, BATCH)):
            for error in self._enqueue_batch(batch):
                if error is not None:
                    raise error
            count += len(batch)
        return count

    def enqueue_each(self, messages: Sequence[dramatiq.Message[Any]]) -> list[Exception | None]:
        """Enqueue messages as `enqueue_many()` does, but go on after one that cannot be enqueued. A
        server that does not answer is asked once.

        Returns:
          for each message None, or why it was not enqueued.
        """
        outcomes: list[Exception | None] = []
        for start in range(0, len(messages), BATCH):
            outcomes += self._enqueue_batch(messages[start : start + BATCH])
            if isinstance(outcomes[-1], redis.ConnectionError | redis.TimeoutError):
                break
        return outcomes + outcomes[-1:] * (len(messages) - len(outcomes))

    def _enqueue_batch(self, batch: Sequence[dramatiq.Message[Any]]) -> list[Exception | None]:
        outcomes: list[Exception | None] = [None] * len(batch)
        pipeline = self.client.pipeline(transaction=False)
        sent: dict[int, dramatiq.Message[Any]] = {}
        for number, original in enumerate(batch):
            message = original.copy(options={"redis_message_id": str(uuid.uuid4())})
            try:
                self.emit_before("enqueue", message, None)
                message_id = message.options["redis_message_id"]
                self._put(message.queue_name, message_id, message.encode(), pipeline)
            except Exception as error:  # noqa: BLE001 of a hook, or of arguments that JSON lacks
                outcomes[number] = error
            else:
                sent[number] = message
        try:
            answers = pipeline.execute(raise_on_error=False)
        except redis.RedisError as error:
            answers = [error] * len(sent)
        for (number, message), answer in zip(sent.items(), answers, strict=True):
            if isinstance(answer, Exception):
                outcomes[number] = answer
            else:
                self.emit_after("enqueue", message, None)
        return outcomes

    def enqueue(
        self, message: dramatiq.Message[Any], *, delay: int | None = None
    ) -> dramatiq.Message[Any]:
        """Enqueue a message. One whose time has come leaves the queue of delayed messages in the
        same step, or a broken connection would leave it in both."""
        waited = message.options.get("redis_message_id", "")
        if delay is None and self.in_hand.has(dq_name(message.queue_name), waited):
            self._moved.message_id = waited
        try:
            return super().enqueue(message, delay=delay)
        finally:
            self._moved.message_id = None

    def do_enqueue(self, queue: str, message_id: str, data: bytes) -> None:
        """Put a message into a queue and wake its consumers, in one round trip."""
        keys_and_arguments = self._keys_and_arguments(queue, message_id, data)
        if self._moved.message_id is not None:
            self._do_move(queue, self._moved.message_id, keys_and_arguments)
            return
        try:
            connection = self._connection_of_thread()
            connection.send_command("EVALSHA", self._enqueue.sha, 2, *keys_and_arguments)
            connection.read_response()
        except (redis.ConnectionError, redis.exceptions.NoScriptError):
            # The server closed the connection since its last use, or was restarted: the pool and
            # redis-py's script know what to do.
            self._drop_connection_of_thread()
            self._put(queue, message_id, data, self.client)
        except BaseException:
            self._drop_connection_of_thread()  # its answer may still arrive on it
            raise

    def _do_move(self, queue: str, waited: str, keys_and_arguments: list[str | bytes]) -> None:
        delayed = dq_name(queue)
        keys = [
            *keys_and_arguments[:2],
            f"{self.namespace}:__acks__.{self.broker_id}.{delayed}",
            f"{self.namespace}:{delayed}.msgs",
        ]
        arguments = [*keys_and_arguments[2:], waited]
        try:
            self._move(keys=keys, args=arguments)
        except redis.ConnectionError:  # closed since its last use
            self._move(keys=keys, args=arguments)

    def _connection_of_thread(self) -> Any:
        """This thread's own connection. To get one from the pool, have it checked and put it back
        takes longer than the message itself."""
        own = self._own
        if own.client is None or own.pid != os.getpid():
            own.client, own.pid = self.client.client(), os.getpid()
        return own.client.connection

    def _drop_connection_of_thread(self) -> None:
        client, self._own.client = self._own.client, None
        if client is not None:
            client.connection.disconnect()

    def _put(self, queue: str, message_id: str, data: bytes, client: Any) -> None:
        keys_and_arguments = self._keys_and_arguments(queue, message_id, data)
        self._enqueue(keys=keys_and_arguments[:2], args=keys_and_arguments[2:], client=client)

    def _keys_and_arguments(self, queue: str, message_id: str, data: bytes) -> list[str | bytes]:
        return [f"{self.namespace}:{queue}", self._channel, message_id, data, queue]

    def do_requeue(self, queue: str, *message_ids: str) -> None:
        """Put fetched messages back into their queue, and wake its consumers."""
        self._dispatch("requeue")(queue, *message_ids)  # type: ignore[no-untyped-call]
        self.client.publish(self._channel, queue)

    def fetched_ids(self, queue: str) -> set[str]:
        """The ids in Redis of the messages of a queue that Redis counts as fetched by this process.

        Raises:
          redis.RedisError
        """
        ids: Any = self.client.smembers(f"{self.namespace}:__acks__.{self.broker_id}.{queue}")
        return {message_id.decode() for message_id in ids}

    def close(self) -> None:
        self.wake_up.stop()
        self.acks.stop()
        super().close()


class _OwnClient(threading.local):
    """A thread's client of one connection, and the process that opened it."""

    client: Any = None
    pid: int | None = None


class _Moved(threading.local):
    """The id of the delayed message that a thread enqueues now."""

    message_id: str | None = None
