"""Messages that decode, and that Dramatiq's worker cannot handle all the same.

One that names another queue ends the thread that has done it; one without an id restarts the
consumer; one for a later moment in a queue of jobs for now keeps its thread. Consumers leave such
messages out.
"""

import math
from typing import Any

import dramatiq
from dramatiq.common import q_name

_KINDS = {"actor_name": str, "message_id": str, "kwargs": dict, "options": dict}
#: What a line of the log has of a wrong value (characters).
_SHOWN = 200


def malformed(message: dramatiq.Message[Any], queue: str, known_by: str = "") -> str | None:
    """Why a message cannot be handled.

    Parameters:
      queue: where the message came from.
      known_by: the option that has the broker's id of the message, if the broker gives it one.

    Returns:
      what is wrong with it; None if nothing is.
    """
    for name, kind in _KINDS.items():
        if not isinstance(value := getattr(message, name), kind):
            return f"{name} is no {kind.__name__}: {value!r}"[:_SHOWN]
    if message.queue_name != queue:
        return f"it says that it is of the queue {message.queue_name!r}"[:_SHOWN]
    odd = _odd_name(message, known_by) if known_by else None
    return odd or _odd_moment(message, queue)


def _odd_name(message: dramatiq.Message[Any], known_by: str) -> str | None:
    value = message.options.get(known_by)
    if not isinstance(value, str):
        return f"its {known_by} is no str: {value!r}"[:_SHOWN]
    if not value.isascii():  # ours are; and half of a surrogate pair cannot be sent
        return f"its {known_by} is not ASCII: {value!a}"[:_SHOWN]
    return None


def _odd_moment(message: dramatiq.Message[Any], queue: str) -> str | None:
    if "eta" not in message.options:
        return None
    if q_name(queue) == queue:
        return "it is for later, and not in the queue of those"  # it would keep its thread
    eta = message.options["eta"]
    if not isinstance(eta, int | float) or not math.isfinite(eta):
        return f"its eta is no moment: {eta!r}"[:_SHOWN]
    return None
