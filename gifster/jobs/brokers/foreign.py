"""Messages of another application that shares the broker and has queues of the same name.

Their row is in that application's outbox. A worker here may neither do nor acknowledge them: it
puts each back for its owner, after a pause that doubles, as a delayed message of Dramatiq's.
Consumers look before they hand a message over, so it takes no thread, asks no database, and an
actor that is not known here sends nothing to the dead letters. Without the name of an outbox (what
the release before has sent, or `send()` and `send_many()`) a message is ours.
"""

import logging
from collections.abc import Callable
from typing import Any

import dramatiq

from gifster.jobs.complaint import Complaint

logger = logging.getLogger("gifster.jobs")

#: The first pause before a message comes again, and the longest (ms).
FIRST_PAUSE_MS, MAX_PAUSE_MS = 250, 15_000
#: One that was put back so often, in some two hours, has no owner: it is a dead letter. If there is
#: an owner after all, its relay has sent the job anew meanwhile.
MOST_TIMES = 500
#: The message's options: whose it is, and how often it was put back.
WHOSE, TIMES = "outbox", "put_back"


class Others:
    """What one process knows of others' messages.

    Parameters:
      identity: tells the name of our own outbox, None if that has none.
    """

    def __init__(self, identity: Callable[[], str | None]) -> None:
        self._identity = identity
        self._warned: set[str] = set()
        self._cannot_tell = Complaint(logger)

    def owns(self, message: dramatiq.Message[Any]) -> bool:
        """Whether a message is of another outbox than ours."""
        whose = message.options.get(WHOSE)
        if whose is None or whose != self._identity():
            return whose is not None
        self._cannot_tell.over()
        return False

    def put_back(self, broker: dramatiq.Broker, message: dramatiq.Message[Any]) -> bool:
        """Send a copy that comes again later; the message itself is the caller's business.

        Returns:
          False if that has been done often enough.
        """
        whose, times = str(message.options[WHOSE]), message.options.get(TIMES)
        times = max(times, 0) if isinstance(times, int) else 0
        self._warn(message.queue_name, whose)
        if times >= MOST_TIMES:
            logger.warning(
                "nobody's job=%s actor=%s outbox=%s: moved to the dead letters",
                message.options.get("outbox_id"),
                message.actor_name,
                whose,
            )
            return False
        pause_ms = min(FIRST_PAUSE_MS * 2 ** min(times, 16), MAX_PAUSE_MS)
        broker.enqueue(message.copy(options={TIMES: times + 1}), delay=pause_ms)
        return True

    def _warn(self, queue: str, whose: str) -> None:
        ours = self._identity()
        if ours is None:
            self._cannot_tell.say(
                f"queue {queue}: jobs are put back, as the database of the outbox does not tell "
                "whether they are ours"
            )
        elif whose not in self._warned:
            self._warned.add(whose)
            logger.warning(
                "queue %s has jobs of another outbox (%s, ours is %s): another application uses "
                "this broker. Its jobs are put back for it, which makes them late. Give each "
                'application a namespace: jobs.connect(url, namespace="…"), in Gifster '
                "broker.namespace; with RabbitMQ a virtual host",
                queue,
                whose,
                ours,
            )
