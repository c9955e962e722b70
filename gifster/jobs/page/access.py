"""Who may see the page, and who may change something on it: the function `allow` of the
application that mounts it says so, for each request."""

from collections.abc import Callable
from enum import IntEnum


class Access(IntEnum):
    """What a person may do: NONE, not even SEE the page with the jobs' arguments and errors; SEE
    it; CHANGE something, as its buttons do."""

    NONE = 0
    SEE = 1
    CHANGE = 2


def access_of(answer: object) -> Access:
    """What an answer of `allow` means: an `Access`; True for CHANGE, False and None for NONE.

    Raises:
      TypeError: it is anything else. A user object, a coroutine or a text may be true by accident.
    """
    if isinstance(answer, Access):
        return answer
    if answer is None or answer is False:
        return Access.NONE
    if answer is True:
        return Access.CHANGE
    raise TypeError(
        f"allow returned an object of type {type(answer).__name__}: return True, False or a "
        "gifster.jobs.page.Access"
    )


def require_function(allow: object) -> None:
    """Raise `TypeError` if `allow` is no function, such as `True`."""
    if not isinstance(allow, Callable):  # type: ignore[arg-type]
        raise TypeError(
            f"allow={allow!r}: give a function of the request, which returns True for people who "
            "may see and change the jobs"
        )
