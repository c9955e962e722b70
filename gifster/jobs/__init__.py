"""The work half: Dramatiq with what a Sidekiq user takes for granted, and an outbox.

Knows Dramatiq, Redis and Peewee, and nothing of the application. In the order a job meets them:
`outbox` (a job as a row, written in the transaction of the data it is about), `broker` (a URL
becomes a Dramatiq broker), `redis_broker` (workers are woken up at once), `turns` (queues share
threads by weight), `middleware` (what every job gets: logs, a database connection, the end of its
outbox row), `lease` (who has a job in hand), `relay` (sends what the moment after the commit could
not, and what a worker died over), `dead` (what was given up), `stats` (how the queues are doing).
"""

from gifster.jobs.broker import BrokerUnavailable, connect, ping, send_many
from gifster.jobs.dead import NoSuchJob, dead, drop, retry, waiting
from gifster.jobs.outbox import Job, enqueue, transaction
from gifster.jobs.relay import relay
from gifster.jobs.stats import QueueStats, stats
from gifster.jobs.turns import Share

__all__ = [
    "BrokerUnavailable",
    "Job",
    "NoSuchJob",
    "QueueStats",
    "Share",
    "connect",
    "dead",
    "drop",
    "enqueue",
    "ping",
    "relay",
    "retry",
    "send_many",
    "stats",
    "transaction",
    "waiting",
]
