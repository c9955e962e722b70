"""Bodies: of requests, piece by piece and not too slowly, and of responses that are files."""

import time
from collections.abc import Iterator
from typing import Protocol

from gifster.uploads.endpoints.messages import Problem, Response

PIECE_BYTES = 128 * 1024
#: A body that sends nothing for so long (seconds), or after that less than so many bytes a second
#: on average, is cut. These are Gifster's own limits.
STALL_S, LEAST_RATE = 30.0, 500


class Body(Protocol):
    """What becomes of the body of a request, piece by piece. All of it blocks."""

    def feed(self, piece: bytes) -> None:
        """Take a piece, of any length."""

    def finish(self) -> Response:
        """The answer, when the body is complete."""

    def abort(self, error: BaseException) -> None:
        """End it, after `feed()` got all that has come: leave nothing half-done behind."""


class Pace:
    """Cuts a body that comes too slowly."""

    def __init__(self) -> None:
        self._began, self._bytes = time.monotonic(), 0

    def note(self, size: int) -> None:
        """Note that so many bytes have come.

        Raises:
          Problem: 408.
        """
        self._bytes += size
        took = time.monotonic() - self._began
        if took > STALL_S and self._bytes < LEAST_RATE * took:
            raise stalled()


def stalled() -> Problem:
    """The error of a body that comes too slowly."""
    return Problem(408, "body_stalled", "The upload came too slowly. Try again.")


class Pieces:
    """The pieces of a response's file, which is closed at the end (PEP 3333, `close()`)."""

    def __init__(self, response: Response) -> None:
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        file, left = self._response.file, self._response.length
        while file is not None and left and (piece := file.read(min(left, PIECE_BYTES))):
            left -= len(piece)
            yield piece

    def close(self) -> None:
        """Close the file."""
        if self._response.file is not None:
            self._response.file.close()
