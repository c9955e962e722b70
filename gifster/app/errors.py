"""What can go wrong: with what people ask of the application, and with the settings.

The API maps the tree of `LibraryError` once (`api/problems.py`); the command line prints messages.
"""


class SettingsError(Exception):
    """The settings cannot be used. The message names each wrong key, and says what to do."""


class LibraryError(Exception):
    """A request cannot be carried out. `code` is stable; the message is for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class BadQuery(LibraryError):
    """The parameters of a list are invalid."""


class NotFound(LibraryError):
    """What the request names does not exist."""


class Invalid(LibraryError):
    """A value of the request is invalid."""


class Conflict(LibraryError):
    """Somebody else was first: the address or the place is taken."""


class Denied(LibraryError):
    """The user may not do that."""


class Unavailable(LibraryError):
    """A service of others that the request needs cannot be used now."""


class NoAddress(ValueError):
    """Mail cannot be addressed to this text: trying again changes nothing."""
