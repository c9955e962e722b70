"""The relay: sends jobs whose row is still in the outbox when it should be gone by now.

Those are the jobs of commits after which the broker was away or the process died, and those that
a broker lost. The scheduler calls it every few seconds. Running it twice at once is safe: a job's
second copy finds no row and is skipped.
"""

import logging
import time

from gifster.jobs.outbox import RESEND_AFTER_S, Job

logger = logging.getLogger("gifster.jobs")

BATCH = 500


def relay() -> int:
    """Send the jobs that are due, oldest first, until the broker refuses one.

    Returns:
      how many were sent.
    """
    sent = 0
    due = Job.select().where(Job.send_at <= time.time(), Job.failed_at.is_null())
    for job in due.order_by(Job.send_at).limit(BATCH):
        if not job.send():
            break
        again = time.time() + RESEND_AFTER_S * 2 ** min(job.sendings, 10)
        Job.update(send_at=again, sendings=Job.sendings + 1).where(Job.id == job.id).execute()
        sent += 1
    if sent:
        logger.info("relayed jobs=%d", sent)
    return sent
