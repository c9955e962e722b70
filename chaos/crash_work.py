"""What happens after a crash, in one process and one thread: time passes, the relay sends what
waits, a worker runs it, and the sweep looks for what was left behind."""

import random
from types import SimpleNamespace
from typing import Any

import dramatiq
from dramatiq.worker import _WorkerThread

from gifster.jobs import Job, relay
from gifster.uploads.resumable import rows
from gifster.uploads.resumable.table import ResumableUpload
from gifster.uploads.sweep import sweep as sweep_uploads

#: After so many rounds of the relay, a job that is still there waits for ever.
ROUNDS = 12
PREFETCH = 1000
#: All files are this much older (seconds) than any that the sweep spares.
AGE_S = 60


def work(rounds: int = ROUNDS) -> None:
    """Run all jobs, as a worker's thread does, with its middleware. What the broker does not have,
    the relay sends, once the leases of dead workers have run out.

    Parameters:
      rounds: how often the relay does so.
    """
    _run_messages()
    for _ in range(rounds):
        waiting = Job.failed_at.is_null() & ~Job.held
        if not Job.update(send_at=0, due_at=None).where(waiting).execute():
            return
        relay()
        _run_messages()


class _Consumer:
    """A queue, as the thread of a worker sees it (`dramatiq.worker._ConsumerThread`)."""

    def __init__(self, broker: Any, name: str) -> None:
        self._broker, self._queue = broker, broker.queues[name]
        self._consumer = broker.consume(name, prefetch=PREFETCH, timeout=1)

    def messages(self) -> list[Any]:
        """What is in the queue."""
        return [next(self._consumer) for _ in range(self._queue.qsize())]

    def post_process_message(self, message: Any) -> None:
        end = "nack" if message.failed else "ack"
        self._broker.emit_before(end, message)
        getattr(self._consumer, end)(message)
        self._broker.emit_after(end, message)


def _run_messages() -> None:
    """Run what the broker has, in any order: several workers would take it."""
    broker: Any = dramatiq.get_broker()
    # What waits for its retry is in other queues: the relay sends it.
    queues = [name for name in broker.get_declared_queues() if not name.endswith(".DQ")]
    consumers = {name: _Consumer(broker, name) for name in sorted(queues)}
    handed_over: Any = SimpleNamespace(task_done=lambda: None)
    thread: Any = _WorkerThread(
        broker=broker, consumers=consumers, work_queue=handed_over, worker_timeout=1
    )
    messages: list[Any] = []
    while True:
        for consumer in consumers.values():
            messages += consumer.messages()
        if not messages:
            return
        thread.process_message(messages.pop(random.randrange(len(messages))))


def sweep() -> None:
    """Remove what nobody needs, as `sweep_uploads` does a week later."""
    ResumableUpload.update(expires_at=0).execute()
    rows.forget_expired()
    sweep_uploads(repair=True, min_age_s=-AGE_S, force=True)


def mend(*, sweep_first: bool) -> None:
    """Work and sweep until all is well.

    Parameters:
      sweep_first: whether the sweep runs before the jobs, as behind a long queue.
    """
    if sweep_first:
        sweep()
    for _ in range(2):
        work()
        sweep()
    work()
