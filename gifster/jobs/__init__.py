"""The work half: Dramatiq with what a Sidekiq user takes for granted, and an outbox.

It knows Dramatiq, Redis and Peewee, and nothing of the application. In the order a job meets them:
`outbox` (a job as a row, written in the transaction of its data) and `transactions`, `identity`
(the name of that outbox), `schema` (its tables, and their upgrade), `groups` (jobs throttled for
the sake of others), `recurring` (jobs that come again and again), `sending` (one message to the
broker, or many), `brokers/` (how workers get them), `middleware` and `outbox_rows` (what every job
gets: logs, a database connection, its row), `trust` (what a message may make a worker do), `lease`
(which worker runs a job) and `relay` (sends the jobs of commits that found no broker, and of
workers that died); all go by one clock (`clock`), which may be set (`watched`). Then what there is
to see: `worker_rows` (the workers, and the paused queues), `states` (the
jobs in each state), `dead` (jobs that were given up), `dropping` (jobs that nobody wants any more)
and `stats` (the queues now, and what was done).
"""

import warnings
from typing import Any

from gifster.jobs.brokers.connection import BrokerUnavailable, connect, ping, send_bulk, send_many
from gifster.jobs.brokers.fair import QueueWeight
from gifster.jobs.dead import NoSuchJob, forget_dead, retry
from gifster.jobs.dropping import JobIsRunning, clear, drop
from gifster.jobs.identity import OutboxIdentity
from gifster.jobs.job import Job, now
from gifster.jobs.old_schema import OldSchema
from gifster.jobs.outbox import enqueue, is_waiting
from gifster.jobs.recurring import (
    Recurring,
    RecurringJob,
    cron,
    declare_recurring,
    enqueue_recurring,
    every,
    forget_others,
    recurring_jobs,
)
from gifster.jobs.relay import relay
from gifster.jobs.schema import TABLES, create_tables, migrate, pending_migrations
from gifster.jobs.states import State, find, state_of
from gifster.jobs.stats import (
    DAY_S,
    HOUR_S,
    MINUTE_S,
    ActorStats,
    QueueStats,
    Span,
    history,
    stats,
    totals,
)
from gifster.jobs.transactions import NotBound, transaction
from gifster.jobs.watched import ClockSpan, moment_before
from gifster.jobs.worker_rows import (
    NoSuchWorker,
    PausedQueue,
    Worker,
    pause,
    paused_queues,
    quiet,
    resume,
    workers,
)

__all__ = [
    "DAY_S",
    "HOUR_S",
    "MINUTE_S",
    "TABLES",
    "ActorStats",
    "BrokerUnavailable",
    "ClockSpan",
    "Job",
    "JobIsRunning",
    "NoSuchJob",
    "NoSuchWorker",
    "NotBound",
    "OldSchema",
    "OutboxIdentity",
    "PausedQueue",
    "QueueStats",
    "QueueWeight",
    "Recurring",
    "RecurringJob",
    "Span",
    "State",
    "Worker",
    "clear",
    "connect",
    "create_tables",
    "cron",
    "declare_recurring",
    "drop",
    "enqueue",
    "enqueue_recurring",
    "every",
    "find",
    "forget_dead",
    "forget_others",
    "history",
    "is_waiting",
    "migrate",
    "moment_before",
    "now",
    "pause",
    "paused_queues",
    "pending_migrations",
    "ping",
    "quiet",
    "recurring_jobs",
    "relay",
    "resume",
    "retry",
    "send_bulk",
    "send_many",
    "state_of",
    "stats",
    "totals",
    "transaction",
    "workers",
]

#: Former names, until the next release.
_RENAMED = {"Share": QueueWeight, "Tally": ActorStats}


def __getattr__(name: str) -> Any:
    if name not in _RENAMED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    new = _RENAMED[name]
    warnings.warn(
        f"jobs.{name} is deprecated: write jobs.{new.__name__}", DeprecationWarning, stacklevel=2
    )
    return new
