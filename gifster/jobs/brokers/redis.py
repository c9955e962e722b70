"""Dramatiq's Redis broker with what Sidekiq has: weighted queues, and jobs that start at once.

Dramatiq's own consumers poll, with a pause that grows to a second while a queue is idle, and hand
everything they have fetched to one work queue. These are told by the enqueue (Redis's publish, in
the same round trip), and hand over what has its turn (`fair.py`). Dramatiq's worker is untouched.
"""

import itertools
import logging
import os
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import dramatiq
import redis
from dramatiq.brokers import redis as dramatiq_redis
from dramatiq.common import q_name
from dramatiq.errors import ConnectionClosed

from gifster.jobs.brokers.acks import Acks
from gifster.jobs.brokers.fair import InTurn, Share, Turns, add_turns, group_of
from gifster.jobs.brokers.fetched import Fetched
from gifster.jobs.brokers.foreign import Others
from gifster.jobs.brokers.malformed import malformed
from gifster.jobs.hooks import QuickHooks

logger = logging.getLogger("gifster.jobs")

#: How long a consumer that is told of new jobs goes without looking all the same; it is also the
#: worker's sign of life (seconds).
LOOK_EVERY_S = 2.5
#: How long a consumer that cannot be told waits at most (seconds), and the first pause of those
#: that double.
MAX_PAUSE_S, FIRST_PAUSE_S = 1.0, 0.02
#: How much later than others a process looks that has jobs, and none that may begin (seconds).
LET_OTHERS_S = 0.005
RECONNECT_S = 2.0
#: How long a consumer that ends waits for its last acknowledgements (seconds).
CLOSE_S = 5.0
#: How many messages `enqueue_many` sends in a round trip.
BATCH = 500

#: What Dramatiq's own script does to enqueue (its header says what the keys are), and waking up who
#: waits; without the maintenance and the sign of life, which are the consumers' business.
_ENQUEUE = """
redis.call("hset", KEYS[1] .. ".msgs", ARGV[1], ARGV[2])
redis.call("rpush", KEYS[1], ARGV[1])
redis.call("publish", KEYS[2], ARGV[3])
"""


class RedisBroker(QuickHooks, dramatiq_redis.RedisBroker):
    """A broker whose queues have shares, and whose consumers are woken up.

    Parameters:
      shares: by queue.
      identity: tells the name of our outbox (see `brokers/foreign.py`).
      options: as Dramatiq's own broker.
    """

    def __init__(
        self,
        shares: Mapping[str, Share] | None = None,
        identity: Callable[[], str | None] = lambda: None,
        **options: Any,
    ) -> None:
        super().__init__(**options)  # type: ignore[no-untyped-call]
        self.others = Others(identity)
        self.turns: Turns | None = None
        self._channel = f"{self.namespace}:wake-up"
        self.wake_up = WakeUp(self.client, self._channel)
        self.acks = Acks(self.client, self.namespace, self.broker_id)
        self._maintained = threading.local()
        self._enqueue = self.client.register_script(_ENQUEUE)
        self._own = _Own()
        add_turns(self, shares or {})

    @property
    def consumer_class(self) -> type["Consumer"]:
        return Consumer

    def _should_do_maintenance(self, command: str) -> int:
        """Whether a command also gives back what dead workers had fetched: for each queue every
        `LOOK_EVERY_S`. Dramatiq leaves it to chance, for minutes on a quiet system."""
        if command != "fetch":
            return 0
        last = getattr(self._maintained, "at", 0.0)  # a thread fetches from one queue only
        due = time.monotonic() - last >= LOOK_EVERY_S * 0.9
        if due:
            self._maintained.at = time.monotonic()
        return int(due)

    def enqueue_many(self, messages: Iterable[dramatiq.Message[Any]]) -> int:
        """Enqueue messages, `BATCH` of them in a round trip (Sidekiq's `push_bulk`).

        Returns:
          how many there were.
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
        """As `enqueue_many()`, but one that cannot be enqueued stops none but itself. A server that
        does not answer is asked once.

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
            except Exception as error:  # noqa: BLE001 a hook's, or what goes into no JSON
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

    def do_enqueue(self, queue: str, message_id: str, data: bytes) -> None:
        """Put a message into a queue, and wake up who waits for it, in one round trip."""
        keys_and_arguments = self._keys_and_arguments(queue, message_id, data)
        try:
            connection = self._connection_of_thread()
            connection.send_command("EVALSHA", self._enqueue.sha, 2, *keys_and_arguments)
            connection.read_response()
        except (redis.ConnectionError, redis.exceptions.NoScriptError):
            # Closed by the other side since it was last used, or a server that was started anew:
            # the pool and redis-py's script know what to do.
            self._drop_connection_of_thread()
            self._put(queue, message_id, data, self.client)
        except BaseException:
            self._drop_connection_of_thread()  # an answer may still come on it
            raise

    def _connection_of_thread(self) -> Any:
        """A connection that is this thread's own: to ask the pool for one, have it examined and put
        it back takes longer than the message itself."""
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
        """Put fetched messages back into their queue, and wake up who waits for them."""
        self._dispatch("requeue")(queue, *message_ids)  # type: ignore[no-untyped-call]
        self.client.publish(self._channel, queue)

    def close(self) -> None:
        self.wake_up.stop()
        self.acks.stop()
        super().close()


class _Own(threading.local):
    """A thread's client of one connection, and the process that opened it."""

    client: Any = None
    pid: int | None = None


class WakeUp:
    """One connection, and one thread, of a worker process that hears of new messages.

    Parameters:
      client: the Redis client.
      channel: what to listen to; messages there are names of queues.
    """

    def __init__(self, client: Any, channel: str) -> None:
        self._client, self._channel = client, channel
        self._events: dict[str, threading.Event] = defaultdict(threading.Event)
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._over = threading.Event()
        #: Whether it would hear of a message now.
        self.listening = False

    def event(self, queue: str) -> threading.Event:
        """What is set when something has come into a queue."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, daemon=True, name="wake-up")
                self._thread.start()
            return self._events[queue]

    def stop(self) -> None:
        """Stop listening."""
        self._over.set()

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                self._listen()
            except (redis.RedisError, OSError) as error:
                if self.listening:
                    logger.warning("not woken up any more, polling instead: %s", error)
            finally:
                self.listening = False
            self._over.wait(RECONNECT_S)

    def _listen(self) -> None:
        with self._client.pubsub() as pubsub:
            pubsub.subscribe(self._channel)
            while not self._over.is_set():
                message = pubsub.get_message(timeout=1.0)
                if message is None:
                    continue
                if message["type"] == "subscribe":
                    self.listening = True
                    for event in list(self._events.values()):
                        event.set()  # whatever came while nobody listened
                elif message["type"] == "message":
                    told = self._events.get(message["data"].decode(errors="replace"))
                    if told is not None:
                        told.set()


class Consumer(InTurn, dramatiq_redis._RedisConsumer):
    """Fetches the messages of one queue, and hands each over when it is its turn, those of higher
    priority first."""

    def __init__(self, broker: RedisBroker, queue_name: str, prefetch: int, timeout: int) -> None:
        super().__init__(broker, queue_name, prefetch, timeout)  # type: ignore[no-untyped-call]
        self._timeout_s = timeout / 1000
        self._told = broker.wake_up.event(queue_name)
        self._told.set()
        self._looked_at = 0.0
        #: Whether there may be more than there was room for.
        self._more = True
        self._pause_s = FIRST_PAUSE_S
        #: What has come and is another application's.
        self._not_ours: list[dramatiq.Message[Any]] = []
        delayed = q_name(queue_name) != queue_name  # its messages only wait, and take no thread
        self.turns = None if delayed else broker.turns
        self._fetched = Fetched(queue_name, self.turns)
        #: Whether nothing more can begin before something ends.
        self._stuck = False

    @property
    def outstanding_message_count(self) -> int:
        return len(self.queued_message_ids) + len(self._fetched) + len(self._not_ours)

    def __next__(self) -> Any:
        if self.turns is not None and self.turns.held(self.queue_name):
            self._give_back()
            self.turns.wait_while_held(self.queue_name, self._timeout_s)
            return None
        self._look()
        if not self._fetched.any_may_begin:
            if self.turns is not None:
                self.turns.leave(self.queue_name)
            self._wait()
            return None
        if self.turns is not None:
            if not self.turns.take(self.queue_name, self._timeout_s):
                return None
            self._look()  # something of higher priority may have come meanwhile
        message = self._fetched.pop()
        group = group_of(message)
        if group is not None and self.turns is not None:
            self.turns.begin(self.queue_name, group)
        self.queued_message_ids.add(message.message_id)
        return dramatiq.broker.MessageProxy(message)

    def _look(self) -> None:
        """Fetch what there is room for, if there may be something."""
        if self._room <= 0:
            return
        since = time.monotonic() - self._looked_at
        every = LOOK_EVERY_S if self.broker.wake_up.listening else self._pause_s
        if self._told.is_set() or (
            (self._more or since >= every) and not self._fetched.any_may_begin
        ):
            try:
                self._fetch()
                while self._more and self._fetched.aside and self._room > 0:
                    self._fetch()
            except redis.ConnectionError as error:
                raise ConnectionClosed(error) from None

    def _fetch(self) -> None:
        self._told.clear()  # before looking: what comes from now on sets it again
        self._looked_at = time.monotonic()
        room = self._room
        fetched = self.broker.do_fetch(self.queue_name, room)
        for data in fetched:
            if data is not None:
                self._keep(data)
        self._more = len(fetched) == room
        self._pause_s = FIRST_PAUSE_S if fetched else min(self._pause_s * 2, MAX_PAUSE_S)
        self._put_back_others()

    def _keep(self, data: bytes) -> None:
        try:
            message = dramatiq.Message.decode(data)
        except dramatiq.DecodeError:  # it stays with this worker, and keeps nobody else up
            logger.exception("a message that cannot be read queue=%s", self.queue_name)
            return
        if (why := malformed(message, self.queue_name, known_by="redis_message_id")) is not None:
            logger.error("a malformed message queue=%s: %s", self.queue_name, why)
            return
        if self.turns is not None and self.broker.others.owns(message):
            self._not_ours.append(message)
        else:
            self._fetched.add(message, self._priority(message))

    def _put_back_others(self) -> None:
        while self._not_ours:
            message = self._not_ours[-1]
            message_id = message.options["redis_message_id"]
            if self.broker.others.put_back(self.broker, message):
                self.broker.acks.add(self.queue_name, message_id)  # of this copy only
            else:
                self.broker.do_nack(self.queue_name, message_id)
            self._not_ours.pop()

    def _priority(self, message: dramatiq.Message[Any]) -> int:
        actor = self.broker.actors.get(message.actor_name)
        return 0 if actor is None else int(actor.priority)

    @property
    def _room(self) -> int:
        """How many more to fetch."""
        return int(self.prefetch) - self.outstanding_message_count + self._fetched.aside

    def _wait(self) -> None:
        if self._room <= 0:
            time.sleep(FIRST_PAUSE_S)
            return
        listening = self.broker.wake_up.listening
        self._stuck = bool(self._fetched)
        if not self._fetched.any_may_begin:  # or something has ended just now
            self._told.wait(self._timeout_s if listening else self._pause_s)
        if self._stuck:
            time.sleep(LET_OTHERS_S)
        self._stuck = False

    def ack(self, message: Any) -> None:
        """Have the broker told that a message is done."""
        self.queued_message_ids.discard(message.message_id)
        self.broker.acks.add(self.queue_name, message.options["redis_message_id"])
        self._give_thread_back(message)

    def _give_thread_back(self, message: Any) -> None:
        super()._give_thread_back(message)
        if self._stuck:
            self._told.set()

    def close(self) -> None:
        """Give back what has been fetched and not begun, and tell what is done."""
        self._give_back()
        if not self.broker.acks.flush(CLOSE_S):
            logger.warning("not acknowledged: what was done last may be done again")

    def _give_back(self) -> None:
        fetched = self._fetched.clear() + self._not_ours
        self._not_ours = []
        if self.turns is not None:
            self.turns.leave(self.queue_name)
        if not fetched:
            return
        self._told.set()  # there are some to come for, when we look again
        try:
            self.requeue(fetched)  # type: ignore[no-untyped-call]
        except redis.RedisError as error:
            logger.warning("left to the relay: %d fetched messages (%s)", len(fetched), error)
