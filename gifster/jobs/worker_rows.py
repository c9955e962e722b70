"""The rows of the worker processes, and the orders that they read: who is quiet, what is paused.

Each worker process has a row, which `heartbeat.py` writes. The row tells it to be quiet, and
another table names the paused queues. So anybody with the database can see and control all workers,
whatever the broker is. (Sidekiq keeps this in Redis.) A worker reads its orders every
`heartbeat.LOOK_S`.
"""

import peewee

from gifster.jobs import clock
from gifster.jobs.old_schema import needs

#: A worker without a heartbeat for so long counts as dead, and for so long is forgotten (seconds).
DEAD_S, FORGOTTEN_S = 30.0, 600.0


class Worker(peewee.Model):
    """A worker process. Times are seconds since the epoch.

    Attributes:
      host, pid: its machine's name, and its process id there.
      threads: how many jobs it runs at once.
      started_at: when it began.
      seen_at: its last heartbeat.
    """

    #: As in `Job.leased_by`.
    id = peewee.CharField(primary_key=True)
    host = peewee.CharField()
    pid = peewee.IntegerField()
    threads = peewee.IntegerField()
    #: The first of its queues, as processes of the former release read them.
    first_queues = peewee.CharField(column_name="queues")
    #: All of them; null if a worker of the former release wrote the row.
    all_queues = peewee.TextField(null=True)
    started_at = peewee.DoubleField()
    seen_at = peewee.DoubleField()
    #: Its resident set size (bytes).
    memory_bytes = peewee.BigIntegerField(default=0)
    #: How far the clock of its machine is ahead of the database's (seconds; negative: behind); null
    #: if they are one clock.
    clock_off_s = peewee.DoubleField(null=True)
    #: Whether it is told to take no new jobs.
    quiet = peewee.BooleanField(default=False)

    @property
    def queues(self) -> str:
        """The names of its queues, separated by spaces; of a worker of the former release, as many
        as have 255 characters."""
        return str(self.first_queues if self.all_queues is None else self.all_queues)

    @queues.setter
    def queues(self, names: str) -> None:
        most = Worker.first_queues.max_length
        fitting = names if len(names) <= most else names[: most + 1].rpartition(" ")[0]
        self.all_queues, self.first_queues = names, fitting

    @property
    def alive(self) -> bool:
        """Whether its last heartbeat is less than `DEAD_S` old."""
        return bool(clock.now(Worker._meta.database) - self.seen_at < DEAD_S)

    @property
    def clock_is_wrong(self) -> bool:
        """Whether the clock of its machine differs much from the database's (`clock.OFF_S`)."""
        return abs(self.clock_off_s or 0.0) > clock.OFF_S


class PausedQueue(peewee.Model):
    """A queue of which no worker begins a job; `paused_at` is in seconds since the epoch."""

    queue = peewee.CharField(primary_key=True)
    paused_at = peewee.DoubleField(default=lambda: clock.now(PausedQueue._meta.database))

    class Meta:
        table_name = "paused_queue"


class NoSuchWorker(LookupError):
    """There is no worker process with this id."""


@needs(Worker)
def workers() -> list[Worker]:
    """All worker processes, by host and process id."""
    return list(Worker.select().order_by(Worker.host, Worker.pid))


@needs(Worker)
def quiet(worker_id: str, *, quiet: bool = True) -> None:
    """Make a worker process quiet, or with `quiet=False` make it work again. It obeys within
    `heartbeat.LOOK_S`.

    Raises:
      NoSuchWorker: no worker has this id.
    """
    if not Worker.update(quiet=quiet).where(Worker.id == worker_id).execute():
        raise NoSuchWorker(f"there is no worker {worker_id}: jobs.workers() lists them")


@needs(PausedQueue)
def pause(queue: str) -> None:
    """Pause a queue: within `heartbeat.LOOK_S` no worker begins a job of it. It still takes new
    jobs."""
    PausedQueue.insert(queue=queue).on_conflict_ignore().execute()


@needs(PausedQueue)
def resume(queue: str) -> None:
    """Let workers begin the jobs of a paused queue again."""
    PausedQueue.delete().where(PausedQueue.queue == queue).execute()


@needs(PausedQueue)
def paused_queues() -> set[str]:
    """The names of the paused queues."""
    return {row.queue for row in PausedQueue.select()}
