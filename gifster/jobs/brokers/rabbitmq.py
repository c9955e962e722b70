"""Dramatiq's RabbitMQ broker with weighted queues.

RabbitMQ pushes messages to its consumers, so nobody needs to be woken up. These hand over what has
its turn (`brokers/fair.py`), as those of `brokers/redis.py` do.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any

import pika
from dramatiq.brokers import rabbitmq
from dramatiq.common import q_name
from dramatiq.errors import ConnectionClosed

from gifster.jobs.brokers.fair import InTurn, Share, Turns, add_turns, group_of
from gifster.jobs.brokers.fetched import Fetched
from gifster.jobs.brokers.foreign import Others
from gifster.jobs.brokers.malformed import malformed

#: How long to listen for more messages while those in hand let others by (seconds).
LISTEN_S = 0.02

logger = logging.getLogger("gifster.jobs")


class RabbitmqBroker(rabbitmq.RabbitmqBroker):
    """A broker whose queues have shares, and which has confirmed what was sent.

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
        super().__init__(confirm_delivery=True, **options)
        self.others = Others(identity)
        self.turns: Turns | None = None
        add_turns(self, shares or {})

    @property
    def consumer_class(self) -> type["Consumer"]:
        return Consumer


class Consumer(InTurn, rabbitmq._RabbitmqConsumer):
    """Receives the messages of one queue, and hands each over when it is its turn."""

    def __init__(
        self, broker: RabbitmqBroker, queue_name: str, prefetch: int, timeout: int
    ) -> None:
        super().__init__(broker, queue_name, prefetch, timeout)  # type: ignore[no-untyped-call]
        self._timeout_s = timeout / 1000
        delayed = q_name(queue_name) != queue_name  # its messages only wait, and take no thread
        self.turns = None if delayed else broker.turns
        #: One that waits for its turn, and others before it whose group lets others by.
        self._in_hand = Fetched(queue_name, self.turns)

    def __next__(self) -> Any:
        if self.turns is None:
            return self._received()
        if self.turns.held(self.queue_name):
            self._give_back()
            self.turns.wait_while_held(self.queue_name, self._timeout_s)
            return None
        if not self._in_hand.any_may_begin:
            self._receive_another()
        if not self._in_hand.any_may_begin:
            self.turns.leave(self.queue_name)
            return None
        if not self.turns.take(self.queue_name, self._timeout_s):
            self._talk()
            return None
        message = self._in_hand.pop()
        group = group_of(message)
        if group is not None:
            self.turns.begin(self.queue_name, group)
        return message

    def _receive_another(self) -> None:
        if self._in_hand:
            # A job that ends may let one of these begin: do not wait for a message for long.
            self._talk(LISTEN_S)
            if not self.channel.get_waiting_message_count():
                return
        message = self._received_of_ours()
        if message is not None:
            actor = self.broker.actors.get(message.actor_name)
            self._in_hand.add(message, 0 if actor is None else int(actor.priority))

    def _received(self) -> Any:
        message = super().__next__()  # type: ignore[no-untyped-call]
        if message is None:
            return None
        if (why := malformed(message._message, self.queue_name)) is None:
            return message
        logger.error("a malformed message queue=%s: %s", self.queue_name, why)
        self.known_tags.discard(message._tag)
        self._nack(message._tag)  # type: ignore[no-untyped-call]
        return None

    def _received_of_ours(self) -> Any:
        """What has come, unless it is another application's, which gets it back."""
        message = self._received()
        if message is None or not self.broker.others.owns(message):
            return message
        kept = self.broker.others.put_back(self.broker, message._message)
        self.known_tags.discard(message._tag)
        try:
            if kept:
                self.channel.basic_ack(message._tag)  # of this copy only
            else:
                self.channel.basic_nack(message._tag, requeue=False)
        except pika.exceptions.AMQPError as error:
            raise ConnectionClosed(error) from None
        return None

    def _give_back(self) -> None:
        """Put what has come and was not begun back into the queue, and let nothing more come until
        we ask again: the next `_received()` does."""
        self.turns.leave(self.queue_name)  # type: ignore[union-attr]
        try:
            for message in self._in_hand.clear():
                self.known_tags.discard(message._tag)
                self.channel.basic_nack(message._tag, requeue=True)
            self.channel.cancel()
            self.iterator = self.channel.consume(
                self.queue_name, inactivity_timeout=self._timeout_s
            )
            self._talk()
        except (pika.exceptions.AMQPError, AssertionError) as error:
            raise ConnectionClosed(error) from None

    def _talk(self, listen_s: float = 0) -> None:
        """Send the acknowledgements that wait, and the heartbeats."""
        try:
            self.connection.process_data_events(listen_s)
        except pika.exceptions.AMQPError as error:
            raise ConnectionClosed(error) from None

    def close(self) -> None:
        if self.turns is not None:
            self.turns.leave(self.queue_name)
        super().close()  # type: ignore[no-untyped-call]
