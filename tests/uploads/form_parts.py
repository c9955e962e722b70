"""Parts of a form, as frameworks hand them over."""

import io
from types import SimpleNamespace
from typing import Any


def part(content: bytes, filename: str = "me.png", *, can_seek: bool = True) -> Any:
    """A part of a form, as Flask's or Starlette's frameworks hand it over."""
    stream = io.BytesIO(content) if can_seek else OneWay(content)
    return Part(filename, stream)


class Part(SimpleNamespace):
    __hash__ = object.__hash__

    def __init__(self, filename: str, stream: Any) -> None:
        super().__init__(filename=filename, stream=stream)


class OneWay(io.BytesIO):
    """A stream that cannot seek, like a socket's."""

    def seekable(self) -> bool:
        return False

    def seek(self, *_: Any) -> int:
        raise io.UnsupportedOperation("seek")
