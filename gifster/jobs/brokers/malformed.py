"""Malformed messages: they can be decoded, but Dramatiq's worker cannot handle them.

A message that names another queue ends the thread that ran it. A message without an id restarts
the consumer. A delayed message outside of the queue for those keeps its thread. Consumers reject
such messages.
"""

import math
from typing import Any

import dramatiq
from dramatiq.common import q_name

_KINDS = {"actor_name": str, "message_id": str, "kwargs": dict, "options": dict}
#: How much of a wrong value a line of the log shows (characters).
_SHOWN = 200


def malformed(message: dramatiq.Message[Any], queue: str, known_by: str = "") -> str | None:
    """Why a message cannot be handled; None if it can.

    Parameters:
      queue: the queue that the message came from.
      known_by: the option with the broker's id of the message, if the broker gives it one.
    """
    for name, kind in _KINDS.items():
        if not isinstance(value := getattr(message, name), kind):
            return f"{name} is not a {kind.__name__}: {value!r}"[:_SHOWN]
    if message.queue_name != queue:
        return f"it names another queue: {message.queue_name!r}"[:_SHOWN]
    wrong = _wrong_id(message, known_by) if known_by else None
    return wrong or _wrong_eta(message, queue)


def _wrong_id(message: dramatiq.Message[Any], known_by: str) -> str | None:
    value = message.options.get(known_by)
    if not isinstance(value, str):
        return f"its {known_by} is not a str: {value!r}"[:_SHOWN]
    if not value.isascii():  # half of a surrogate pair could not be sent back
        return f"its {known_by} is not ASCII: {value!a}"[:_SHOWN]
    return None


def _wrong_eta(message: dramatiq.Message[Any], queue: str) -> str | None:
    if "eta" not in message.options:
        return None
    if q_name(queue) == queue:
        return "it is delayed, but not in the queue for delayed messages"
    eta = message.options["eta"]
    if not isinstance(eta, int | float) or not math.isfinite(eta):
        return f"its eta is not a time: {eta!r}"[:_SHOWN]
    return None
