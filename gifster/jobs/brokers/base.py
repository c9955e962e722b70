"""What our brokers have in common, whatever server they talk to.

Both share the threads of a worker process by the fair scheduler (`fair.py`), keep what they have
fetched in `fetched.py`, and put back the messages of other applications (`foreign.py`).
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import dramatiq
from dramatiq.broker import MessageProxy
from dramatiq.common import q_name
from dramatiq.errors import ConnectionClosed
from dramatiq.middleware import Middleware

from gifster.jobs.brokers.abilities import Abilities
from gifster.jobs.brokers.fair import AnyMessage, FairScheduler, QueueWeight, group_of
from gifster.jobs.brokers.fetched import Fetched
from gifster.jobs.brokers.foreign import ForeignMessages
from gifster.jobs.brokers.work_queue import WorkQueue


class FairBroker(Abilities, dramatiq.Broker):
    """Mixed in before one of Dramatiq's brokers.

    Parameters:
      weights: by queue.
      identity: returns the name of our outbox (see `brokers/foreign.py`).
      options: as for Dramatiq's broker.
    """

    def __init__(
        self,
        weights: Mapping[str, QueueWeight] | None = None,
        identity: Callable[[], str | None] = lambda: None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.foreign = ForeignMessages(identity)
        self.weights = dict(weights or {})
        first = type(self.middleware[0]) if self.middleware else None
        # Before all other middleware, which may look for the scheduler.
        self.add_middleware(_MakeScheduler(self.weights), before=first)

    def wake_to_stop(self) -> None:
        """Have all threads of the worker look whether they are to end."""
        if self.scheduler is not None:
            self.scheduler.stop()

    def priority_of(self, message: AnyMessage) -> int:
        """The priority of a message's actor, the lowest first; 0 for an actor that is not known."""
        actor = self.actors.get(message.actor_name)
        return 0 if actor is None else int(actor.priority)


class _MakeScheduler(Middleware):
    def __init__(self, weights: Mapping[str, QueueWeight]) -> None:
        self._weights = weights

    def before_worker_boot(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        if isinstance(broker, FairBroker):
            broker.scheduler = FairScheduler(worker.worker_threads, self._weights)
            worker.work_queue = WorkQueue(broker.scheduler)

    def before_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        if isinstance(broker, FairBroker):
            broker.wake_to_stop()


class FairConsumer:
    """Mixed in before one of Dramatiq's consumers: it offers its messages to the scheduler, and a
    message that a thread has taken uses this thread until it is acknowledged."""

    broker: Any

    queue_name: str
    #: None in the queue of delayed messages: they only wait there, and use no thread.
    scheduler: FairScheduler | None
    #: What the consumer has fetched and not handed over.
    fetched: Fetched

    def _share_threads(self, broker: FairBroker, queue_name: str) -> None:
        delayed = q_name(queue_name) != queue_name
        self.scheduler = None if delayed else broker.scheduler
        self.fetched = Fetched(queue_name, self.scheduler)

    def _offer(self, messages: Sequence[Any]) -> None:
        """Let the threads of the worker take these messages. A thread that becomes free meanwhile
        chooses among all of them."""
        with nullcontext() if self.scheduler is None else self.scheduler.lock:
            for message in messages:
                self.fetched.add(message, self.broker.priority_of(message))
            if messages and self.scheduler is not None:
                self.scheduler.offer(self.queue_name, self.fetched, len(messages))

    def _hand_over(self, message: MessageProxy) -> MessageProxy:
        """Have Dramatiq's consumer thread handle a message: it rejects one without an actor."""
        if self.scheduler is not None:
            self.scheduler.begin(self.queue_name, group_of(message))
        return message

    def ack(self, message: MessageProxy) -> None:
        """Acknowledge a message that is done."""
        self._finish(super().ack, message)  # type: ignore[misc]

    def nack(self, message: MessageProxy) -> None:
        """Move a message that was given up to the dead letters."""
        self._finish(super().nack, message)  # type: ignore[misc]

    def _finish(self, finish: Callable[[MessageProxy], None], message: MessageProxy) -> None:
        try:
            finish(message)
        except ConnectionClosed:
            raise  # the same thread tries again, so it is not free yet
        except BaseException:
            self._give_thread_back(message)
            raise
        self._give_thread_back(message)

    def _give_thread_back(self, message: MessageProxy) -> None:
        if self.scheduler is not None:
            self.scheduler.done(self.queue_name, group_of(message))
