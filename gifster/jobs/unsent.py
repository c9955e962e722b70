"""Jobs that nobody has sent: their process died between the commit and the sending.

A sent job's row says no more than an unsent one's, as a mark would cost each job a second write. So
the relay asks the broker. A row that is some seconds old and waits for a worker has a message
there; where the queue has no message but those of running jobs, nobody has sent it. Under load the
queue has others, and the job is sent a minute after its commit, as before. If the guess is wrong, a
second message comes, once, which finds the row leased or gone.
"""

from typing import Any

import dramatiq
import peewee

from gifster.jobs import clock
from gifster.jobs.asking import unavailable
from gifster.jobs.brokers.abilities import abilities
from gifster.jobs.job import RESEND_AFTER_S, Job

#: A job may be on its way for so long (seconds). A broker answers in less.
ON_ITS_WAY_S = 4.0
#: How many jobs one call looks at, the oldest first.
MOST = 500


def unsent(broker: dramatiq.Broker) -> list[peewee.Expression]:
    """Which jobs have no message, as one condition for each of their queues.

    Raises:
      BrokerUnavailable: the broker did not answer.
    """
    now = clock.now(Job._meta.database)
    # Neither retried nor relayed: then `send_at` is a minute after it was handed to its sender.
    its_first = (Job.sendings == 0) & (Job.attempts == 0) & (Job.deaths == 0)
    waits = Job.leased_by.is_null() & Job.failed_at.is_null() & ~Job.held
    since = (Job.send_at > now) & (Job.send_at < now + RESEND_AFTER_S - ON_ITS_WAY_S)
    may_be = since & waits & its_first & Job.due_at.is_null()
    found: Any = Job.select(Job.queue).where(may_be).order_by(Job.send_at).limit(MOST).tuples()
    queues = sorted({queue for (queue,) in list(found)})
    return [may_be & (Job.queue == each) for each in queues if not _may_hold(broker, each)]


def _may_hold(broker: dramatiq.Broker, queue: str) -> bool:
    running = Job.leased_by.is_null(False) & (Job.queue == queue)
    try:
        return abilities(broker).may_hold(queue, Job.select().where(running).count())
    except Exception as error:
        raise unavailable(error) from error
