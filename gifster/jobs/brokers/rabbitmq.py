"""Dramatiq's RabbitMQ broker with weighted queues.

RabbitMQ pushes messages to its consumers, so nobody needs to wake them up. They offer what they
receive to the fair scheduler, as the consumers of `redis.py` do.
"""

import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from copy import copy
from types import SimpleNamespace
from typing import Any
from weakref import WeakSet

import pika
from dramatiq.broker import MessageProxy
from dramatiq.brokers import rabbitmq
from dramatiq.errors import ConnectionClosed

from gifster.jobs.brokers.base import FairBroker, FairConsumer
from gifster.jobs.brokers.fair import FairScheduler
from gifster.jobs.brokers.malformed import malformed
from gifster.jobs.circuit import SLOW_S
from gifster.jobs.lease import LEASE_S

logger = logging.getLogger("gifster.jobs")

#: How long a server is left alone that did not even refuse a connection (seconds).
LEFT_ALONE_S = 1.0
#: A consumer's heartbeat is this part of a lease. After two or three that it misses, RabbitMQ gives
#: the messages that it holds to others.
HEARTBEATS_OF_LEASE = 4
#: How long a consumer that ends waits for the acknowledgements of jobs that run (seconds).
CLOSE_S = 5.0


#: The brokers of this process.
_brokers: "WeakSet[RabbitmqBroker]" = WeakSet()


def _forget_the_parents() -> None:
    """In a process that was forked, as those of a web server may be after they have loaded the
    application: two processes on one connection take each other's answers."""
    for broker in list(_brokers):
        broker.forget_connections()


os.register_at_fork(after_in_child=_forget_the_parents)


class RabbitmqBroker(FairBroker, rabbitmq.RabbitmqBroker):
    """A broker that shares threads by weight, and waits until the server has confirmed what it
    sends.

    Parameters:
      options: as for `FairBroker` and Dramatiq's `RabbitmqBroker`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(confirm_delivery=True, **options)
        #: Until when nobody opens a connection (`time.monotonic()`).
        self._left_alone_until = 0.0
        _brokers.add(self)

    @property
    def connection(self) -> Any:
        """The connection of this thread.

        Dramatiq opens one up to six times for a message. Each attempt takes seconds if the server's
        machine says nothing, so a second one follows only after a moment.

        Raises:
          pika.exceptions.AMQPConnectionError
        """
        if getattr(self.state, "connection", None) is not None:
            return self.state.connection
        started = time.monotonic()
        if started < self._left_alone_until:
            raise pika.exceptions.AMQPConnectionError("the server did not answer a moment ago")
        try:
            return super().connection
        except pika.exceptions.AMQPConnectionError:
            now = time.monotonic()
            if now - started >= SLOW_S:
                self._left_alone_until = now + LEFT_ALONE_S
            raise

    @connection.deleter
    def connection(self) -> None:
        rabbitmq.RabbitmqBroker.connection.fdel(self)  # type: ignore[attr-defined]

    def forget_connections(self) -> None:
        """Use the connections of another process no longer. They are not closed: that would be said
        to the server, on the same socket."""
        self.state = threading.local()
        self.connections, self.channels = set(), set()

    def may_hold(self, queue: str, running: int) -> bool:
        """Whether a queue has messages that no worker has received; RabbitMQ does not tell how many
        the workers have received.

        Raises:
          pika.exceptions.AMQPError
        """
        try:
            declared = self._declare_queue(queue)  # type: ignore[no-untyped-call]
        except pika.exceptions.AMQPChannelError:  # it was declared otherwise: nobody can tell
            del self.connection
            return True
        except pika.exceptions.AMQPConnectionError:  # it has timed out, as idle ones do
            del self.connection
            declared = self._declare_queue(queue)  # type: ignore[no-untyped-call]
        return int(declared.method.message_count) > 0

    @property
    def consumer_class(self) -> type["Consumer"]:
        return Consumer


def _with_heartbeat(broker: RabbitmqBroker) -> list[Any]:
    """The parameters of a consumer's connection. The server's own heartbeat is a minute, and until
    it misses some of them, it keeps the messages of a worker that is cut off. Connections that only
    send keep the server's: nobody answers heartbeats on them while they are idle."""
    every = broker.parameters
    made = [copy(each) for each in (every if isinstance(every, list) else [every])]
    for each in made:
        if each.heartbeat is None:
            each.heartbeat = max(2, round((broker.lease_s or LEASE_S) / HEARTBEATS_OF_LEASE))
    return made


class Consumer(FairConsumer, rabbitmq._RabbitmqConsumer):
    """Consumes one queue; of the messages received, those with a higher priority come first."""

    def __init__(
        self, broker: RabbitmqBroker, queue_name: str, prefetch: int, timeout: int
    ) -> None:
        # Dramatiq's consumer takes only the parameters of its own connection from this.
        lively = SimpleNamespace(parameters=_with_heartbeat(broker))
        super().__init__(lively, queue_name, prefetch, timeout)  # type: ignore[no-untyped-call]
        self.broker = broker
        self._share_threads(broker, queue_name)
        self._timeout_s = timeout / 1000

    def __next__(self) -> Any:
        if self.scheduler is None:
            return self._received()
        if self.scheduler.is_paused(self.queue_name):
            self._give_back()
            self.scheduler.wait_while_paused(self.queue_name, self._timeout_s)
            return None
        if not self.fetched.any_may_begin:
            self._talk()
            if not self.channel.get_waiting_message_count():
                self.scheduler.leave(self.queue_name)
        message = self._received_of_ours()
        if message is None:
            return None
        if message.actor_name not in self.broker.actors:
            return self._hand_over(message)
        self._offer([message])
        return None

    def _received(self) -> Any:
        """The next message, unless none arrives in time, or it is malformed."""
        message = super().__next__()  # type: ignore[no-untyped-call]
        if message is None:
            return None
        message._received_by = self
        if (why := malformed(message._message, self.queue_name)) is None:
            return message
        logger.error("a malformed message queue=%s: %s", self.queue_name, why)
        self.known_tags.discard(message._tag)
        self._nack(message._tag)  # type: ignore[no-untyped-call]
        return None

    def _received_of_ours(self) -> Any:
        """The next message, unless it is foreign; that is put back for its owner."""
        message = self._received()
        if message is None or not self.broker.foreign.includes(message):
            return message
        kept = self.broker.foreign.put_back(self.broker, message._message)
        self.known_tags.discard(message._tag)
        try:
            if kept:
                self.channel.basic_ack(message._tag)  # this copy only
            else:
                self.channel.basic_nack(message._tag, requeue=False)
        except pika.exceptions.AMQPError as error:
            raise ConnectionClosed(error) from None
        return None

    def ack(self, message: MessageProxy) -> None:
        """Acknowledge a message that is done."""
        self._finish_own(super().ack, message)

    def nack(self, message: MessageProxy) -> None:
        """Move a message that was given up to the dead letters."""
        self._finish_own(super().nack, message)

    def _finish_own(self, finish: Callable[[MessageProxy], None], message: MessageProxy) -> None:
        """Finish a message of this consumer. RabbitMQ has taken back those of a connection that
        broke while they ran. On this one, their tags are those of other messages, which would be
        lost."""
        if getattr(message, "_received_by", None) is self:
            finish(message)
        else:
            self._give_thread_back(message)

    def _give_back(self) -> None:
        """Put the messages that have not begun back into the queue, and receive no more until the
        next `_received()`."""
        if self.scheduler is not None:
            self.scheduler.leave(self.queue_name)
        try:
            for message in self.fetched.clear():
                self.known_tags.discard(message._tag)
                self.channel.basic_nack(message._tag, requeue=True)
            self.channel.cancel()
            self.iterator = self.channel.consume(
                self.queue_name, inactivity_timeout=self._timeout_s
            )
            self._talk()
        except (pika.exceptions.AMQPError, AssertionError) as error:
            raise ConnectionClosed(error) from None

    def _talk(self) -> None:
        """Send the acknowledgements that wait, and answer heartbeats."""
        try:
            self.connection.process_data_events(0)
        except pika.exceptions.AMQPError as error:
            raise ConnectionClosed(error) from None

    def close(self) -> None:
        self.fetched.clear()  # RabbitMQ delivers them again
        if self.scheduler is not None:
            self.scheduler.leave(self.queue_name)
            self._wait_for_acknowledgements(self.scheduler)
        super().close()  # type: ignore[no-untyped-call]

    def _wait_for_acknowledgements(self, scheduler: FairScheduler) -> None:
        """Wait for the jobs that run, but no longer than `CLOSE_S`. Dramatiq closes the consumers
        of a worker that is paused while its jobs run, and their acknowledgements need the channel
        that their messages came from."""
        give_up_at = time.monotonic() + CLOSE_S
        with suppress(pika.exceptions.AMQPError):  # then the channel has gone already
            while (
                self.connection.is_open
                and scheduler.running_in(self.queue_name)
                and time.monotonic() < give_up_at
            ):
                self.connection.sleep(0.01)
