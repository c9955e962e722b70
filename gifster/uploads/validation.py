"""What an uploader takes: the limits, and the checks that hold them, in the order they can be made.

`CacheWriter` calls them while an upload comes in, each as soon as enough of it is there.
"""

from collections.abc import Iterable

from gifster.uploads.errors import (
    EmptyFile,
    TooLarge,
    TooManyFrames,
    TooManyPixels,
    TypeNotAllowed,
)
from gifster.uploads.imaging.probe import ImageInfo, sniff

MIB = 1024 * 1024
#: The types that can be told by their content, and the extensions that stored files get.
EXTENSIONS = {"image/gif": "gif", "image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}


class Limits:
    """The limits of an uploader, which inherits them. Change what differs."""

    #: The name of the storage where uploads wait.
    cache = "cache"
    #: Content types taken, told by the content and never by the name.
    allow_types: Iterable[str] = frozenset(EXTENSIONS)
    max_bytes = 50 * MIB
    #: Width × height of one frame.
    max_pixels = 40_000_000
    max_frames = 5_000

    @classmethod
    def check_bytes(cls, size: int) -> None:
        """Raises `TooLarge` for a file of more than `max_bytes`."""
        if size > cls.max_bytes:
            raise TooLarge(f"The file is larger than {_human(cls.max_bytes)}.")

    @classmethod
    def check_type(cls, head: bytes) -> None:
        """Raises `TypeNotAllowed` unless a file's first bytes show an allowed type."""
        if (sniff(head) or "") not in cls.allow_types:
            names = ", ".join(sorted(t.partition("/")[2].upper() for t in cls.allow_types))
            raise TypeNotAllowed(f"The content of the file is none of: {names}.")

    @classmethod
    def check_complete(cls, size: int, head: bytes) -> None:
        """Raises `EmptyFile` or `TypeNotAllowed`."""
        if size == 0:
            raise EmptyFile("The file is empty.")
        cls.check_type(head)

    @classmethod
    def check_info(cls, info: ImageInfo) -> None:
        """Raises `TooManyPixels` or `TooManyFrames`."""
        if info.width * info.height > cls.max_pixels:
            raise TooManyPixels(
                f"The image is {info.width}×{info.height} pixels; "
                f"at most {cls.max_pixels / 1e6:g} million are taken."
            )
        if info.frames > cls.max_frames:
            raise TooManyFrames(
                f"The animation has {info.frames} frames; at most {cls.max_frames} are taken."
            )


def _human(size: int) -> str:
    return f"{size / MIB:g} MiB" if size >= MIB else f"{size} bytes"
