"""What can go wrong with what people ask of the application. The API maps the tree once
(`api/problems.py`); the command line prints the message."""


class LibraryError(Exception):
    """Something that was asked for cannot be done. `code` is stable; the message is for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class BadQuery(LibraryError):
    """A list was asked for in a way that makes no sense."""


class NotFound(LibraryError):
    """There is no such thing."""


class Invalid(LibraryError):
    """What was given does not do."""


class Conflict(LibraryError):
    """Somebody was there first."""


class Denied(LibraryError):
    """The person may not do that."""
