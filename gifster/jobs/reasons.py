"""What a row keeps of the exception of its job."""

import traceback

#: The innermost frames of a traceback, and at most so many characters.
TRACEBACK_FRAMES, TRACEBACK_CHARACTERS = 30, 20_000


def reason_of(exception: BaseException) -> dict[str, str]:
    """The columns of a row that say why its job failed."""
    lines = traceback.format_exception(exception, limit=-TRACEBACK_FRAMES)
    return {
        "error": _storable(shown(exception)[:TRACEBACK_CHARACTERS]),
        "traceback": _storable("".join(lines)[-TRACEBACK_CHARACTERS:]),
    }


def shown(exception: BaseException) -> str:
    """The `repr()` of an exception, also of one that raises another there."""
    try:
        return repr(exception)
    except Exception as error:  # noqa: BLE001 it is the application's
        return f"{type(exception).__name__}, which cannot be shown: {type(error).__name__}"


def _storable(text: str) -> str:
    """A text as any database takes it. An exception may quote a broken file name (halves of
    surrogate pairs), or bytes of a file, and PostgreSQL takes no NUL. If its row could not be
    written, a job that has failed for good would run again for ever."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")
