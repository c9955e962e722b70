"""The work half: Dramatiq with what a Sidekiq user takes for granted, and an outbox.

Knows Dramatiq, Redis and Peewee, and nothing of the application. In the order a job meets them:
`outbox` (a job as a row, written in the transaction of the data it is about), `broker` (a URL
becomes a Dramatiq broker), `middleware` (what every job gets: logs, a database connection, the
end of its outbox row), `relay` (sends what the moment after the commit could not).
"""

from gifster.jobs.broker import BrokerUnavailable, connect, ping
from gifster.jobs.outbox import Job, enqueue, transaction
from gifster.jobs.relay import relay

__all__ = ["BrokerUnavailable", "Job", "connect", "enqueue", "ping", "relay", "transaction"]
