"""The consumer of the Redis broker: it fetches the messages of one queue, and offers them to the
fair scheduler.

Dramatiq's consumer polls, with a pause that grows to a second while the queue is idle. This one
waits to be woken up (`wake_up.py`), and polls only while nobody can wake it.
"""

import logging
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import dramatiq
import redis
from dramatiq.broker import MessageProxy
from dramatiq.brokers import redis as dramatiq_redis
from dramatiq.errors import ConnectionClosed

from gifster.jobs.brokers.base import FairConsumer
from gifster.jobs.brokers.fair import AnyMessage
from gifster.jobs.brokers.malformed import malformed
from gifster.jobs.brokers.refusals import explained, leave_a_replica, refusal
from gifster.jobs.losses import remove_mark

if TYPE_CHECKING:
    from gifster.jobs.brokers.redis import RedisBroker

logger = logging.getLogger("gifster.jobs")

#: How many messages one fetch may return: Lua's stack has room for some 8,000.
MOST_FETCHED = 1_000
#: How often a consumer that is woken up looks for messages all the same (seconds). Each look also
#: tells the broker that the worker lives.
LOOK_EVERY_S = 2.5
#: The first pause of a consumer that nobody can wake, and the longest; it doubles (seconds).
FIRST_PAUSE_S, MAX_PAUSE_S = 0.02, 1.0
#: How much later than others a process looks that has messages, none of which may begin (seconds).
LET_OTHERS_S = 0.005
#: While the threads finish as many messages as Dramatiq prefetches in less than this (seconds), a
#: fetch costs more than the jobs: each may be twice as large, up to so many times as large. With
#: several queues, all of that counts by their weights.
SHORT_S, MOST_TIMES = 0.01, 4
#: After so long, a consumer gives back what is beyond Dramatiq's prefetch; and all that waits, if
#: none has begun for so long and no thread is free: other processes may have one (seconds).
SURPLUS_S = 0.1
#: The pause after a fetch that failed (seconds).
STAND_BY_S = 1.0
#: How long a consumer that ends waits for its last acknowledgements (seconds).
CLOSE_S = 5.0


class Consumer(FairConsumer, dramatiq_redis._RedisConsumer):
    """Consumes one queue; messages with a higher priority come first."""

    broker: "RedisBroker"

    def __init__(self, broker: "RedisBroker", queue_name: str, prefetch: int, timeout: int) -> None:
        super().__init__(broker, queue_name, prefetch, timeout)  # type: ignore[no-untyped-call]
        self._share_threads(broker, queue_name)
        self._timeout_s = timeout / 1000
        self._told = broker.wake_up.event(queue_name)
        self._told.set()
        self._looked_at = 0.0
        #: Whether the queue may have more messages than there was room for.
        self._more = True
        self._pause_s = FIRST_PAUSE_S
        #: How many messages may be here, those that run included.
        self._most = int(prefetch)
        #: Since when jobs are counted for that, and how many have ended.
        self._counted_since, self._ended = 0.0, 0
        #: Whether long jobs use all threads.
        self._busy = False
        #: Fetched messages that no thread here may take: those of another application, and those
        #: that Dramatiq's own thread handles, because they are delayed or their actor is unknown.
        self._foreign: list[dramatiq.Message[Any]] = []
        self._handled: list[MessageProxy] = []
        #: Whether the server had ids without their messages.
        self._lost = False
        #: Whether there is room for no more messages; and what is set when there is room again.
        self._full = False
        self._freed = threading.Event()

    @property
    def outstanding_message_count(self) -> int:
        waiting = len(self.fetched) + len(self._foreign) + len(self._handled)
        if self.scheduler is None:
            return waiting + len(self.queued_message_ids)
        return waiting + self.scheduler.running_in(self.queue_name)

    def __next__(self) -> MessageProxy | None:
        if self.scheduler is not None and self.scheduler.is_paused(self.queue_name):
            self._give_back()
            self.scheduler.tell_next()
            with suppress(redis.RedisError):  # the next round tries again
                self.broker.in_hand.settle(self.queue_name)
                self.broker.show_life()
            self.scheduler.wait_while_paused(self.queue_name, self._timeout_s)
            return None
        try:
            self._look()
        except redis.RedisError as error:
            self._stand_by(error)
            return None
        if self._handled:
            message = self._handled.pop(0)
            self.queued_message_ids.add(message.message_id)
            return self._hand_over(message)
        self._wait()
        return None

    def _look(self) -> None:
        """Fetch as many messages as there is room for, if there may be any."""
        since = time.monotonic() - self._looked_at
        self._choose_most()
        if since > SURPLUS_S:
            self._give_back_surplus()
        if self._room <= 0:
            self.broker.show_life()
            return
        every = LOOK_EVERY_S if self.broker.wake_up.listening else self._pause_s
        if self._told.is_set() or (
            (self._more or since >= every) and not self.fetched.any_may_begin
        ):
            self._fetch()
            while self._more and self.fetched.aside and self._room > 0:
                self._fetch()
            again = "messages can be fetched again"
            self.broker.cannot_fetch.resolved(again, tried_at=self._looked_at)
        if not self._more and not self.fetched.any_may_begin and self.scheduler is not None:
            self.scheduler.leave(self.queue_name)

    def _stand_by(self, error: redis.RedisError) -> None:
        """Wait a moment before the next attempt to fetch. The log has one line, not one for each.

        Raises:
          ConnectionClosed: there are messages here to give back. Dramatiq then makes another
            consumer.
        """
        leave_a_replica(self.broker.client.connection_pool, error)
        self.broker.cannot_fetch.report(
            f"no messages can be fetched: {explained(error)}", refusal(error)
        )
        delayed = self.scheduler is None and self.queued_message_ids
        if self.fetched or self._foreign or self._handled or delayed:
            raise ConnectionClosed(error) from None
        time.sleep(STAND_BY_S)

    def _fetch(self) -> None:
        self._told.clear()  # first: a message that arrives from now on sets it again
        self._looked_at = time.monotonic()
        room = self._room
        try:
            self.broker.in_hand.settle(self.queue_name)
            fetched = self.broker.do_fetch(self.queue_name, room)
        except redis.RedisError:
            self.broker.in_hand.lose(self.queue_name)  # its answer may have had messages
            raise
        self._more = len(fetched) >= min(room, MOST_FETCHED)
        self._offer([message for data in fetched if (message := self._kept(data)) is not None])
        self._pause_s = FIRST_PAUSE_S if fetched else min(self._pause_s * 2, MAX_PAUSE_S)
        self._put_back_foreign()
        if self._lost:
            logger.warning("the broker has lost messages queue=%s", self.queue_name)
            remove_mark(self.broker)
            self._lost = False

    def _choose_most(self) -> None:
        """Fetch more at a time while the threads are quick, and nothing while long jobs use them
        all."""
        prefetch, now, scheduler = int(self.prefetch), time.monotonic(), self.scheduler
        self._busy = (
            scheduler is not None
            and now - self.fetched.taken_at > SURPLUS_S
            and not scheduler.has_thread(self.queue_name)
        )
        if scheduler is not None and self._busy:
            self._most = self.outstanding_message_count - len(self.fetched)
            return
        passed = now - self._counted_since
        if passed < SHORT_S and self._ended < prefetch:
            return  # too early to tell
        share = 1.0 if scheduler is None else scheduler.share_of(self.queue_name)
        quick = self._ended * SHORT_S >= prefetch * share * passed
        # By its weight, because quick threads take all of each fetch before the next one comes.
        most = max(1, int(prefetch * MOST_TIMES * share))
        self._most = min(self._most * 2, most) if quick else prefetch
        self._counted_since, self._ended = now, 0

    def _give_back_surplus(self) -> None:
        """Give back what there is no room for; while long jobs use all threads, what is aside,
        too."""
        surplus: list[Any] = []
        if self._busy:
            surplus = self.fetched.clear()
        elif self._room < 0:
            others = self.outstanding_message_count - len(self.fetched)
            surplus = self.fetched.keep_first(self._most - others)
        if surplus:
            self._more = True
            self.requeue(surplus)

    def _kept(self, data: bytes | None) -> MessageProxy | None:
        """The message, if it is for the threads of this worker. Others are kept elsewhere."""
        if data is None:  # the server evicted the messages of the queue, and kept their ids
            self.broker.in_hand.lose(self.queue_name)
            self._lost = True
            return None
        try:
            message = dramatiq.Message.decode(data)
        except dramatiq.DecodeError:  # it stays with this worker, and is in nobody's way
            logger.exception("a message that cannot be read queue=%s", self.queue_name)
            return None
        if (why := malformed(message, self.queue_name, known_by="redis_message_id")) is not None:
            logger.error("a malformed message queue=%s: %s", self.queue_name, why)
            return None
        self.broker.in_hand.add(self.queue_name, message.options["redis_message_id"])
        if self.scheduler is not None and self.broker.foreign.includes(message):
            self._foreign.append(message)
            return None
        if self.scheduler is None or message.actor_name not in self.broker.actors:
            self._handled.append(MessageProxy(message))
            return None
        return MessageProxy(message)

    def _put_back_foreign(self) -> None:
        while self._foreign:
            message = self._foreign[-1]
            message_id = message.options["redis_message_id"]
            if self.broker.foreign.put_back(self.broker, message):
                self.broker.acks.add(self.queue_name, message_id)  # this copy only
            else:
                self.broker.do_nack(self.queue_name, message_id)
            self.broker.in_hand.remove(self.queue_name, [message_id])
            self._foreign.pop()

    @property
    def _room(self) -> int:
        """How many more messages to fetch."""
        return self._most - self.outstanding_message_count + self.fetched.aside

    def _wait(self) -> None:
        """Wait until there may be messages to fetch, and room for them."""
        if self.scheduler is not None:
            self.scheduler.tell_next()
            if self._busy:
                self.scheduler.wait_for_thread(
                    self.queue_name, self._longest_wait_s, self._may_have_more
                )
                return
        if self._room <= 0:
            self._freed.clear()
            self._full = True
            if self._room <= 0:  # no job has ended in the meantime
                self._freed.wait(self._longest_wait_s)
            self._full = False
            return
        stuck = bool(self.fetched) and not self.fetched.any_may_begin
        if self._more:
            self.fetched.tell_when_low(self._told, self._most // 4)
        self._told.wait(self._longest_wait_s if self.broker.wake_up.listening else self._pause_s)
        if stuck:
            time.sleep(LET_OTHERS_S)

    def _may_have_more(self) -> bool:
        """Whether the queue may have messages that were not fetched."""
        return self._more or self._told.is_set() or not self.broker.wake_up.listening

    @property
    def _longest_wait_s(self) -> float:
        longest = min(SURPLUS_S, self._timeout_s) if self.fetched else self._timeout_s
        scheduler = self.broker.scheduler  # the one of the queue of delayed messages, too
        return longest if scheduler is None else scheduler.at_most(longest)

    def ack(self, message: MessageProxy) -> None:
        """Leave it to `broker.acks` to tell the broker that a message is done."""
        message_id = message.options["redis_message_id"]
        self.queued_message_ids.discard(message.message_id)
        self.broker.acks.add(self.queue_name, message_id)
        self.broker.in_hand.remove(self.queue_name, [message_id])
        self._give_thread_back(message)

    def nack(self, message: MessageProxy) -> None:
        """Move a message that was given up to the dead letters."""
        super().nack(message)
        self.broker.in_hand.remove(self.queue_name, [message.options["redis_message_id"]])

    def _give_thread_back(self, message: MessageProxy) -> None:
        super()._give_thread_back(message)
        self._ended += 1
        if self._full:
            self._freed.set()

    def requeue(self, messages: Iterable[AnyMessage]) -> None:
        """Give messages back, now or before the next fetch."""
        ids = [message.options["redis_message_id"] for message in messages]
        if not ids:
            return
        try:
            self.broker.do_requeue(self.queue_name, *ids)
        except redis.RedisError as error:
            logger.warning("given back later: %d fetched messages (%s)", len(ids), explained(error))
            self.broker.in_hand.lose(self.queue_name, ids)
        else:
            self.broker.in_hand.remove(self.queue_name, ids)

    def close(self) -> None:
        """Give back the messages that have not begun, and acknowledge those that are done."""
        self._give_back()
        if self.scheduler is None:
            # Dramatiq has given back the delayed messages, or dropped them when a connection broke.
            self.broker.in_hand.lose_all(self.queue_name)
        if not self.broker.acks.flush(CLOSE_S):
            logger.warning("not acknowledged: the last jobs that were done may be done again")

    def _give_back(self) -> None:
        fetched = self.fetched.clear() + self._foreign + self._handled
        self._foreign, self._handled = [], []
        if self.scheduler is not None:
            self.scheduler.leave(self.queue_name)
        if fetched:
            self._told.set()  # fetch them again when the queue is no longer paused
            self.requeue(fetched)
