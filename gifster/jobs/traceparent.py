"""The trace that a job belongs to: a text (W3C Trace Context, `traceparent`) that travels in the
job's row and in the option of that name of its message.

Nobody traces unless `tracing.trace_jobs()` says so, and then this costs a job one comparison.
"""

import re
from collections.abc import Callable

#: The option of a message.
OPTION = "traceparent"
#: https://www.w3.org/TR/trace-context/#traceparent-header, of version 00.
_FORM = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")

#: Notes that a job of an actor is enqueued in a queue, and returns its `traceparent`.
Enqueued = Callable[[str, str], str | None]

_enqueued: Enqueued | None = None


def note_enqueued_by(enqueued: Enqueued | None) -> None:
    """Have each job that is enqueued from now on noted; None for no longer."""
    global _enqueued  # noqa: PLW0603 tracing is of the process
    _enqueued = enqueued


def of_new_job(actor: str, queue: str) -> str | None:
    """The `traceparent` of a job that is being enqueued; None if nobody traces."""
    return None if _enqueued is None else _enqueued(actor, queue)


def is_valid(text: object) -> bool:
    """Whether a text is a `traceparent`. Anybody who can write to the broker may have sent it."""
    return isinstance(text, str) and _FORM.fullmatch(text) is not None
