"""What a worker trusts of a message. Anybody who can write to the broker can put messages there.

A message only names a row of the outbox; the row says what is done. An actor with the option
`outbox_only` does nothing without a row. See decision 34.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import dramatiq
import peewee
from dramatiq.broker import MessageProxy

from gifster.jobs.job import Job, Unreadable

logger = logging.getLogger("gifster.jobs")

#: The actor's option: its jobs come through the outbox only.
OUTBOX_ONLY = "outbox_only"
#: The message's option that names the row.
ROW = "outbox_id"
#: The message's option that says when the row was made. A job with a key of its own (`unique`) may
#: be dropped and enqueued again, while the message of the first one is still in the broker.
CREATED_AT = "outbox_created_at"
#: The message's option that says how often its row could not be read.
UNREAD = "unread"
_LARGEST = 2**31 - 1
#: How much of a message's arguments a line of the log shows (characters).
SHOWN = 200


class Refused(Exception):
    """A message that a worker does not act on; says why."""

    def __init__(self, message: MessageProxy, why: str) -> None:
        super().__init__(f"refused: {why}: {_shown(message)}")


def row_named_by(broker: dramatiq.Broker, message: MessageProxy) -> str | None:
    """The id of the row that a message names; None if it names none and needs none.

    Raises:
      Refused: the message names no row, but its actor does nothing without one.
    """
    job_id = message.options.get(ROW)
    if isinstance(job_id, str) and 0 < len(job_id) <= Job.id.max_length:
        return job_id
    if job_id is None and not _outbox_only(broker, message):
        return None
    raise Refused(message, "it names no row of the outbox")


def row_of(message: MessageProxy) -> peewee.Expression:
    """The row that a message names, in SQL: not a later one with the same id."""
    its, created_at = Job.id == message.options.get(ROW), row_made_at(message)
    return its if created_at is None else its & (Job.created_at == created_at)


def row_made_at(message: MessageProxy) -> float | None:
    """When the row of a message was made (seconds since the epoch); None if the message, of an
    earlier release, does not say that."""
    created_at = message.options.get(CREATED_AT)
    return created_at if isinstance(created_at, float) else None


def retries_of(message: MessageProxy) -> int:
    """How often the job of a message had failed when it was sent."""
    return count_in(message, "retries")


def count_in(message: MessageProxy, option: str) -> int:
    """The number of an option of a message; 0 if it is none. Databases take no larger ones."""
    count = message.options.get(option)
    return min(count, _LARGEST) if isinstance(count, int) and count > 0 else 0


def apply_row(broker: dramatiq.Broker, message: MessageProxy, job: Job) -> None:
    """Replace a message's arguments and retries by those of its row. Where the actor does nothing
    without a row, the message's own options are dropped, too.

    Raises:
      Refused: the arguments of the row cannot be read.
    """
    if isinstance(job.arguments, Unreadable):
        raise Refused(message, job.arguments.why)
    if message.kwargs or not _equal(message.args, job.arguments):
        logger.warning("other arguments than its row's, which are taken: %s", _shown(message))
    options: Mapping[str, Any] = message.options
    if _outbox_only(broker, message):
        options = {k: v for k, v in options.items() if k not in broker.actor_options}
    # `copy()` adds options to those of the original, so empty them first.
    changed = message._message.copy(args=tuple(job.arguments), kwargs={})
    changed.options.clear()
    changed.options.update({**options, "retries": job.attempts})
    changed.options.pop(UNREAD, None)
    message._message = changed


def why_not_taken(message: MessageProxy, job_id: str) -> str | None:
    """Why a row that could not be leased is not this message's; None if it is, or is gone."""
    actor = Job.select(Job.actor).where(Job.id == job_id).scalar()
    if actor is None or actor == message.actor_name:
        return None
    return f"its row is for actor={actor!r}"


def _outbox_only(broker: dramatiq.Broker, message: MessageProxy) -> bool:
    actor = broker.actors.get(message.actor_name)
    return actor is not None and bool(actor.options.get(OUTBOX_ONLY))


def _equal(sent: Sequence[Any], kept: list[Any]) -> bool:
    encode = dramatiq.get_encoder().encode
    return list(sent) == kept or encode({"args": list(sent)}) == encode({"args": kept})


def _shown(message: MessageProxy) -> str:
    text = f"actor={message.actor_name} job={message.options.get(ROW)} args={message.args!r}"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
