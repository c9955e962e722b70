"""Messages that decode, and that Dramatiq's worker cannot handle all the same.

One that names another queue ends the thread that has done it; one without an id restarts the
consumer. Consumers leave them out.
"""

from typing import Any

import dramatiq

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
    if known_by and not isinstance(value := message.options.get(known_by), str):
        return f"its {known_by} is no str: {value!r}"[:_SHOWN]
    return None
