"""What a message may make a worker do: whoever can write to the broker can put messages there.

A message with a row in the outbox only says which row. The row says what is done. An actor with the
option `outbox_only` does nothing without one. See decision 34.
"""

import logging
from collections.abc import Mapping
from typing import Any

import dramatiq

from gifster.jobs.outbox import Job, Unreadable

logger = logging.getLogger("gifster.jobs")

#: The actor's option: its jobs come through the outbox, and through nothing else.
OUTBOX_ONLY = "outbox_only"
#: The message's option that names the row, and the longest name of one (characters).
ROW, MOST_CHARACTERS = "outbox_id", 32
#: What a line of the log has of a forged message's arguments (characters).
SHOWN = 200


def row_named_by(broker: dramatiq.Broker, message: dramatiq.broker.MessageProxy) -> str | None:
    """The row that a message is about; None if it needs none.

    Raises:
      Refused: the actor does only what is in the outbox, and the message names no row.
    """
    job_id = message.options.get(ROW)
    if isinstance(job_id, str) and 0 < len(job_id) <= MOST_CHARACTERS:
        return job_id
    if job_id is None and not _outbox_only(broker, message):
        return None
    raise Refused(message, "it names no row of the outbox")


def obey(broker: dramatiq.Broker, message: dramatiq.broker.MessageProxy, job: Job) -> None:
    """Make a message say what its row says. Of an actor that does only what is in the outbox, the
    message cannot change the options either.

    Raises:
      Refused: the row's arguments cannot be read.
    """
    if isinstance(job.arguments, Unreadable):
        raise Refused(message, job.arguments.why)
    if message.kwargs or not _alike(message.args, job.arguments):
        logger.warning("other arguments than its row's, which are taken: %s", _shown(message))
    options: Mapping[str, Any] = message.options
    if _outbox_only(broker, message):
        options = {k: v for k, v in options.items() if k not in broker.actor_options}
    # Shared with the proxy, as Dramatiq's own middleware changes the options in place.
    changed = message._message.copy(args=tuple(job.arguments), kwargs={})
    changed.options.clear()
    changed.options.update({**options, "retries": job.attempts})
    message._message = changed


class Refused(Exception):
    """A message that is not obeyed; says why."""

    def __init__(self, message: dramatiq.broker.MessageProxy, why: str) -> None:
        super().__init__(f"refused: {why}: {_shown(message)}")


def why_not_taken(message: dramatiq.broker.MessageProxy, job_id: str) -> str | None:
    """Why a row that could not be leased is not the message's; None if it is, or is gone."""
    actor = Job.select(Job.actor).where(Job.id == job_id).scalar()
    if actor is None or actor == message.actor_name:
        return None
    return f"its row is for actor={actor!r}"


def _outbox_only(broker: dramatiq.Broker, message: dramatiq.broker.MessageProxy) -> bool:
    actor = broker.actors.get(message.actor_name)
    return actor is not None and bool(actor.options.get(OUTBOX_ONLY))


def _alike(sent: Any, kept: list[Any]) -> bool:
    encode = dramatiq.get_encoder().encode
    return list(sent) == kept or encode({"args": list(sent)}) == encode({"args": kept})


def _shown(message: dramatiq.broker.MessageProxy) -> str:
    text = f"actor={message.actor_name} job={message.options.get(ROW)} args={message.args!r}"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
