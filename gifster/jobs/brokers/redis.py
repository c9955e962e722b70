"""Dramatiq's Redis broker with what Sidekiq has: weighted queues, and jobs that start at once.

An enqueue wakes the consumers (`wake_up.py`), which hand a message over when the fair scheduler
gives it a thread (`redis_consumer.py`). Acknowledgements travel together (`acks.py`). Dramatiq's
worker is unchanged.
"""

import itertools
import logging
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import dramatiq
import redis
from dramatiq.brokers import redis as dramatiq_redis
from dramatiq.common import dq_name, q_name
from dramatiq.encoder import JSONEncoder
from dramatiq.errors import ConnectionClosed

from gifster.jobs.brokers.acks import Acks
from gifster.jobs.brokers.base import FairBroker
from gifster.jobs.brokers.batches import BATCH, calls, encoded, with_id
from gifster.jobs.brokers.in_hand import InHand
from gifster.jobs.brokers.mending import Mending
from gifster.jobs.brokers.own_connections import OwnConnections
from gifster.jobs.brokers.redis_consumer import LOOK_EVERY_S, MOST_FETCHED, Consumer
from gifster.jobs.brokers.redis_scripts import (
    ENQUEUE,
    ENQUEUE_MANY,
    FETCH,
    ITS_CLOCK,
    MOVE,
    NACK,
    REQUEUE,
    SHOW_LIFE,
)
from gifster.jobs.brokers.refusals import concerns_all, is_full
from gifster.jobs.brokers.removal import Removal
from gifster.jobs.brokers.wake_up import WakeUp
from gifster.jobs.hooks import QuickHooks
from gifster.jobs.outbox_rows import OutboxRows
from gifster.jobs.problem import Problem

logger = logging.getLogger("gifster.jobs")


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
        self._removal = Removal(self.client, self.namespace)
        self._mending = Mending(self.client, self.namespace, self._channel)
        self._maintained = threading.local()
        stock: Any = self.scripts["dispatch"].script
        self.scripts["dispatch"] = self.client.register_script(ITS_CLOCK + stock)
        self._enqueue = self.client.register_script(ENQUEUE)
        self._enqueue_all = self.client.register_script(ENQUEUE_MANY)
        self._move = self.client.register_script(MOVE)
        self._fetch = self.client.register_script(FETCH)
        self._requeue = self.client.register_script(REQUEUE)
        self._nack = self.client.register_script(NACK)
        self._show_life = self.client.register_script(SHOW_LIFE)
        #: When this process last showed Redis that it lives (`time.monotonic()`).
        self._shown_at = 0.0
        #: Why the consumers get nothing, if they cannot fetch.
        self.cannot_fetch = Problem(logger)
        self._own = OwnConnections(self.client)
        self._moved = _Moved()

    @property
    def consumer_class(self) -> type[Consumer]:
        return Consumer

    def _should_do_maintenance(self, command: str) -> int:
        """Whether a command also gives back what dead workers had fetched, and deletes old dead
        letters: for each queue one fetch every `LOOK_EVERY_S`. Dramatiq leaves that to chance
        (`maintenance_chance`), which takes minutes on a quiet system."""
        if command == "fetch" and self._maintenance_is_due:
            self._maintained.at = time.monotonic()
            return 1
        return int(super()._should_do_maintenance(command))

    @property
    def _maintenance_is_due(self) -> bool:
        last = getattr(self._maintained, "at", 0.0)  # a thread fetches from one queue only
        return bool(time.monotonic() - last >= LOOK_EVERY_S * 0.9)

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

    def enqueue_calls(
        self, actor: dramatiq.Actor[..., Any], arguments: Iterable[Sequence[Any]]
    ) -> int:
        """Enqueue a message of an actor for each of these arguments, as `enqueue_many()` does.

        Returns:
          how many messages there were.
        """
        hooks = self.hooks_but(OutboxRows, "before_enqueue", "after_enqueue")
        if hooks or type(dramatiq.get_encoder()) is not JSONEncoder:
            return self.enqueue_many(actor.message(*values) for values in arguments)
        count = 0
        for batch in calls(actor, arguments):
            self._send_batch(actor.queue_name, batch)
            count += len(batch) // 2
        return count

    def enqueue_each(self, messages: Sequence[dramatiq.Message[Any]]) -> list[Exception | None]:
        """Enqueue messages as `enqueue_many()` does, but go on after one that cannot be enqueued. A
        server that takes no messages now is asked once.

        Returns:
          for each message None, or why it was not enqueued.
        """
        outcomes: list[Exception | None] = []
        for start in range(0, len(messages), BATCH):
            outcomes += self._enqueue_batch(messages[start : start + BATCH])
            if outcomes[-1] is not None and concerns_all(outcomes[-1]):
                break
        return outcomes + outcomes[-1:] * (len(messages) - len(outcomes))

    def _enqueue_batch(self, batch: Sequence[dramatiq.Message[Any]]) -> list[Exception | None]:
        outcomes: list[Exception | None] = [None] * len(batch)
        queues: dict[str, list[tuple[int, dramatiq.Message[Any], bytes]]] = defaultdict(list)
        unique = uuid.uuid4().hex[:28]
        for number, original in enumerate(batch):
            message = with_id(original, f"{unique}{number:08x}")
            try:
                self.emit_before("enqueue", message, None)
                queues[message.queue_name].append((number, message, encoded(message)))
            except Exception as error:  # noqa: BLE001 of a hook, or of arguments that JSON lacks
                outcomes[number] = error
        away: redis.RedisError | None = None
        for queue, sent in queues.items():
            why = away
            if why is None:
                ids = ((message.options["redis_message_id"], data) for _, message, data in sent)
                why = self._refused_batch(queue, list(itertools.chain.from_iterable(ids)))
            if why is not None and concerns_all(why):
                away = why
            for number, message, _ in sent:
                outcomes[number] = why
                if why is None:
                    self.emit_after("enqueue", message, None)
        return outcomes

    def _refused_batch(self, queue: str, ids_and_data: list[Any]) -> redis.RedisError | None:
        """Why a batch could not be sent; None if it was."""
        try:
            self._send_batch(queue, ids_and_data)
        except redis.RedisError as error:
            return error
        return None

    def _send_batch(self, queue: str, ids_and_data: list[Any]) -> None:
        name, ids = f"{self.namespace}:{queue}", ids_and_data[::2]
        commands = [
            ("HSET", f"{name}.msgs", *ids_and_data),
            ("RPUSH", name, *ids),
            ("PUBLISH", self._channel, queue),
        ]
        try:
            self._own.transact(commands)
        except (redis.ConnectionError, redis.exceptions.NoPermissionError):
            # Closed since its last use, or only the answer was lost: the script sends them once. It
            # also sends them if only the publication is not allowed.
            self._enqueue_all(keys=[name, self._channel], args=[queue, *ids_and_data])

    def enqueue(
        self, message: dramatiq.Message[Any], *, delay: int | None = None
    ) -> dramatiq.Message[Any]:
        """Enqueue a message. One whose time has come leaves the queue of delayed messages in the
        same step, or a broken connection would leave it in both."""
        if delay is not None:
            return super().enqueue(message, delay=delay)
        queue, waited = message.queue_name, message.options.get("redis_message_id", "")
        if self.in_hand.has(dq_name(queue), waited):
            self._moved.message_id = waited
        try:
            sent = with_id(message, str(uuid.uuid4()))
            self.emit_before("enqueue", sent, None)
            self.do_enqueue(queue, sent.options["redis_message_id"], encoded(sent))
            self.emit_after("enqueue", sent, None)
        finally:
            self._moved.message_id = None
        return sent

    def do_enqueue(self, queue: str, message_id: str, data: bytes) -> None:
        """Put a message into a queue and wake its consumers, in one round trip."""
        keys_and_arguments = self._keys_and_arguments(queue, message_id, data)
        if self._moved.message_id is not None:
            self._do_move(queue, self._moved.message_id, keys_and_arguments)
            return
        try:
            self._own.call(self._enqueue, keys_and_arguments[:2], keys_and_arguments[2:])
        except redis.ConnectionError:
            # The server closed the connection since its last use: the pool knows what to do.
            self._put(queue, message_id, data, self.client)

    def _do_move(self, queue: str, waited: str, keys_and_arguments: list[str | bytes]) -> None:
        delayed = dq_name(queue)
        keys = [
            *keys_and_arguments[:2],
            f"{self.namespace}:__acks__.{self.broker_id}.{delayed}",
            f"{self.namespace}:{delayed}.msgs",
        ]
        arguments = [*keys_and_arguments[2:], waited]
        try:
            try:
                self._move(keys=keys, args=arguments)
            except redis.ConnectionError:  # closed since its last use
                self._move(keys=keys, args=arguments)
        except redis.RedisError as error:
            # In Dramatiq's consumer thread: it then takes all delayed messages from here once more.
            raise ConnectionClosed(error) from None

    def _put(self, queue: str, message_id: str, data: bytes, client: Any) -> None:
        keys_and_arguments = self._keys_and_arguments(queue, message_id, data)
        self._enqueue(keys=keys_and_arguments[:2], args=keys_and_arguments[2:], client=client)

    def _keys_and_arguments(self, queue: str, message_id: str, data: bytes) -> list[str | bytes]:
        return [f"{self.namespace}:{queue}", self._channel, message_id, data, queue]

    def do_fetch(self, queue: str, count: int) -> list[bytes | None]:
        """Fetch up to so many messages of a queue, and acknowledge those that are done."""
        if self._maintenance_is_due:
            try:
                answer: list[bytes | None] = self._dispatch("fetch")(queue, count)  # type: ignore[no-untyped-call]
            except redis.RedisError as error:
                if not is_full(error):
                    raise
            else:
                return answer
        name, acks = f"{self.namespace}:{queue}", f"{self.namespace}:__acks__.{self.broker_id}"
        keys = [name, f"{name}.msgs", f"{acks}.{queue}", f"{self.namespace}:__heartbeats__"]
        done, sent = self.acks.take(queue), False
        most = min(count, MOST_FETCHED)
        try:
            answer = self._own.call(self._fetch, keys, [self.broker_id, most, *done])
            sent = True
        except redis.ConnectionError:  # closed since its last use
            self.in_hand.lose(queue)
            answer = self._dispatch("fetch")(queue, count)  # type: ignore[no-untyped-call]
        finally:
            self.acks.taken(queue, sent=sent)
        self._shown_at = time.monotonic()
        return answer

    def show_life(self) -> None:
        """Show Redis that this process lives, if it has fetched nothing for a while: its threads
        are busy, and it has all delayed messages that it may have.

        Raises:
          redis.RedisError
        """
        if time.monotonic() - self._shown_at >= LOOK_EVERY_S:
            self._show_life(keys=[f"{self.namespace}:__heartbeats__"], args=[self.broker_id])
            self._shown_at = time.monotonic()

    def do_requeue(self, queue: str, *message_ids: str) -> None:
        """Put fetched messages back as the first of their queue, as Sidekiq does, and wake its
        consumers."""
        name, acks = f"{self.namespace}:{queue}", f"{self.namespace}:__acks__.{self.broker_id}"
        keys = [name, f"{name}.msgs", f"{acks}.{queue}", self._channel]
        self._requeue(keys=keys, args=[queue, *message_ids])

    def do_nack(self, queue: str, message_id: str) -> None:
        """Move a fetched message to the dead letters.

        Raises:
          ConnectionClosed: the server takes no commands now; Dramatiq tries again.
        """
        name, acks = f"{self.namespace}:{queue}", f"{self.namespace}:__acks__.{self.broker_id}"
        dead = f"{self.namespace}:{q_name(queue)}.XQ"
        keys = [f"{acks}.{queue}", f"{name}.msgs", dead, f"{dead}.msgs"]
        try:
            self._nack(keys=keys, args=[message_id])
        except redis.RedisError as error:
            if concerns_all(error):
                raise ConnectionClosed(error) from None
            raise

    def may_hold(self, queue: str, running: int) -> bool:
        """Whether Redis has more messages of a queue than those of so many running jobs: waiting
        ones, or ones that a worker has fetched.

        Raises:
          redis.RedisError
        """
        return int(self.client.hlen(f"{self.namespace}:{queue}.msgs")) > running

    def remove(self, queue: str, rows: Collection[str]) -> int:
        """Remove messages of jobs whose rows are gone, as `Removal` does."""
        return self._removal.remove(queue, rows)

    def mend(self, queue: str) -> int:
        """Put messages back into a queue, as `Mending` does."""
        return self._mending.mend(queue)

    def fetched_ids(self, queue: str) -> set[str]:
        """The ids in Redis of the messages of a queue that Redis counts as fetched by this process.

        Raises:
          redis.RedisError
        """
        ids: Any = self.client.smembers(f"{self.namespace}:__acks__.{self.broker_id}.{queue}")
        return {message_id.decode() for message_id in ids}

    def wake_to_stop(self) -> None:
        super().wake_to_stop()
        self.wake_up.wake_all()

    def close(self) -> None:
        self.wake_up.stop()
        self.acks.stop()
        super().close()


class _Moved(threading.local):
    """The id of the delayed message that a thread enqueues now."""

    message_id: str | None = None
