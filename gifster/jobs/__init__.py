"""The work half: Dramatiq with what a Sidekiq user takes for granted, and an outbox.

Knows Dramatiq, Redis and Peewee, and nothing of the application. In the order a job meets them:
`outbox` (a job as a row, written in the transaction of the data it is about), `identity` (whose
outbox that is), `groups` (whose jobs wait for others of theirs), `recurring` (jobs that come again
and again), `sending` (to the broker, one or many), `brokers/` (how workers get them), `middleware`
(what every job gets: logs, a database connection, the end of its outbox row), `lease` (who has a
job in hand), `relay` (sends what the moment after the commit could not, and what a worker died
over). Then what there is to see: `heartbeat` (who is there, what is paused), `states`
(which jobs there are), `dead` (what was given up), `stats` (how the queues are doing), `tally`
(what was done).
"""

from gifster.jobs.brokers.connection import BrokerUnavailable, connect, ping, send_many
from gifster.jobs.brokers.fair import Share
from gifster.jobs.dead import NoSuchJob, drop, retry
from gifster.jobs.heartbeat import (
    NoSuchWorker,
    PausedQueue,
    Worker,
    pause,
    paused_queues,
    quiet,
    resume,
    workers,
)
from gifster.jobs.identity import OutboxIdentity
from gifster.jobs.outbox import Job, enqueue, transaction
from gifster.jobs.recurring import (
    Recurring,
    RecurringJob,
    enqueue_recurring,
    forget_others,
    recurring_jobs,
)
from gifster.jobs.relay import relay
from gifster.jobs.schema import TABLES, create_tables
from gifster.jobs.states import State, find, state_of
from gifster.jobs.stats import QueueStats, stats
from gifster.jobs.tally import DAY_S, HOUR_S, MINUTE_S, Span, Tally, history, totals

__all__ = [
    "DAY_S",
    "HOUR_S",
    "MINUTE_S",
    "TABLES",
    "BrokerUnavailable",
    "Job",
    "NoSuchJob",
    "NoSuchWorker",
    "OutboxIdentity",
    "PausedQueue",
    "QueueStats",
    "Recurring",
    "RecurringJob",
    "Share",
    "Span",
    "State",
    "Tally",
    "Worker",
    "connect",
    "create_tables",
    "drop",
    "enqueue",
    "enqueue_recurring",
    "find",
    "forget_others",
    "history",
    "pause",
    "paused_queues",
    "ping",
    "quiet",
    "recurring_jobs",
    "relay",
    "resume",
    "retry",
    "send_many",
    "state_of",
    "stats",
    "totals",
    "transaction",
    "workers",
]
