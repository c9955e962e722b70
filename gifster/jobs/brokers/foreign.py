"""Foreign messages: those of another application that shares the broker and has queues of the same
name.

Their rows are in that application's outbox, so a worker here may neither do nor acknowledge them.
It puts each one back for its owner as a delayed message of Dramatiq's, after a pause that doubles.
Consumers check before they hand a message over: a foreign message uses no thread, costs no query,
and is not dead-lettered because its actor is unknown here. A message that names no outbox counts as
ours: an earlier release sent it, or `send()` or `send_many()` did.
"""

import logging
from collections.abc import Callable
from typing import Any

import dramatiq

from gifster.jobs.problem import Problem

logger = logging.getLogger("gifster.jobs")

#: The first pause before a message comes back, and the longest (ms).
FIRST_PAUSE_MS, MAX_PAUSE_MS = 250, 15_000
#: A message that was put back so often, in about two hours, has no owner: it becomes a dead letter.
#: If there is an owner after all, its relay has sent the job again in the meantime.
MOST_TIMES = 500
#: Message options: the name of the owner's outbox, and how often the message was put back.
WHOSE, TIMES = "outbox", "put_back"


class ForeignMessages:
    """Tells our messages from foreign ones.

    Parameters:
      identity: returns the name of our own outbox; None if it has no name.
    """

    def __init__(self, identity: Callable[[], str | None]) -> None:
        self._identity = identity
        self._warned: set[str] = set()
        self._cannot_tell = Problem(logger)

    def includes(self, message: dramatiq.Message[Any]) -> bool:
        """Whether a message belongs to another outbox than ours."""
        whose = message.options.get(WHOSE)
        if whose is None or whose != self._identity():
            return whose is not None
        self._cannot_tell.resolved()
        return False

    def put_back(self, broker: dramatiq.Broker, message: dramatiq.Message[Any]) -> bool:
        """Send a copy that comes back later. The caller acknowledges the message itself.

        Returns:
          False if the message was put back `MOST_TIMES` already; then no copy is sent.
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
            self._cannot_tell.report(
                f"queue {queue}: jobs are put back, because the outbox's database does not tell "
                "whether they are ours"
            )
        elif whose not in self._warned and whose != ours:  # it may have answered a moment ago
            self._warned.add(whose)
            logger.warning(
                "queue %s has jobs of another outbox (%s, ours is %s): another application uses "
                "this broker. Its jobs are put back for it, which delays them. Give each "
                'application its own namespace: jobs.connect(url, namespace="…"), in Gifster '
                "broker.namespace; on RabbitMQ its own virtual host",
                queue,
                whose,
                ours,
            )
