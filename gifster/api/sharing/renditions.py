"""Which of a GIF's files others get, and their addresses, which stay when the picture is replaced
or the files move to another storage."""

import math
from dataclasses import dataclass
from pathlib import PurePosixPath

from gifster.app.originals import STILLS, WHOLE, Kept, quality
from gifster.uploads import StoredFile, StoredVersion

#: Types that browsers show, and all chats but for the last one.
SHOWN_TYPES = {"image/gif", "image/png", "image/jpeg", "image/webp", "image/avif"}
#: Larger pictures are not shown in previews (bytes): X takes 5 MB, Discord fetches all of a page's
#: pictures in ten seconds.
MOST_BYTES = 5_000_000


@dataclass(frozen=True)
class Rendition:
    """A file of a GIF.

    Attributes:
      path: where it is, below the library's address.
      content_type: such as `image/gif`.
      bytes: its size.
      width, height: in pixels.
    """

    path: str
    content_type: str
    bytes: int
    width: int
    height: int

    @property
    def extension(self) -> str:
        return PurePosixPath(self.path).suffix[1:]

    def fitted(self, max_width: float, max_height: float) -> tuple[int, int]:
        """The size at which it fits into a box, never enlarged (pixels)."""
        scale = min(1.0, max_width / self.width, max_height / self.height)
        return max(1, int(self.width * scale)), max(1, int(self.height * scale))


def extension_of(file: Kept) -> str:
    """The extension of a file's key, such as `gif`."""
    return PurePosixPath(file.key).suffix[1:]


def whole_of(stored: StoredFile, *, edited: bool) -> Kept | None:
    """The original; of a GIF with an edit what the edit selects, or None until that is made."""
    if not edited:
        return stored
    return next((stored.versions[name] for name in WHOLE if name in stored.versions), None)


def file_as(stored: StoredFile, extension: str, *, edited: bool = False) -> Kept | None:
    """The file of that extension: the whole picture if it is one, else the largest version that
    shows all of it; None if there is none."""
    whole = whole_of(stored, edited=edited)
    if whole is not None and extension_of(whole) == extension:
        return whole
    versions = [file for file in _versions(stored) if extension_of(file) == extension]
    return max(versions, key=quality, default=None)


def own_file(gif_id: str, stored: StoredFile, *, edited: bool = False) -> Rendition | None:
    """The file as which a GIF is shared, `/g/{id}.{extension}`: a GIF if it moves."""
    file = file_as(stored, "gif", edited=edited)
    if file is None:
        pictures: list[Kept] = [*_pictures(stored)]
        whole = whole_of(stored, edited=edited)
        if whole is not None and whole.content_type in SHOWN_TYPES:
            pictures.insert(0, whole)
        file = next(iter(pictures), None)
    if file is None:
        return None
    path = f"/g/{gif_id}.{extension_of(file)}"
    return Rendition(path, file.content_type, file.bytes, file.width, file.height)


def picture_of(
    gif_id: str, stored: StoredFile, max_width: float = math.inf, max_height: float = math.inf
) -> Rendition | None:
    """The picture for previews, which moves as a GIF if the original moves: the largest version
    that fits into the box and is not too heavy; else the smallest one there is.

    Parameters:
      max_width, max_height: the box (pixels).
    """
    found = sorted(_pictures(stored), key=quality, reverse=True)
    for file in found:
        if file.bytes <= MOST_BYTES and file.width <= max_width and file.height <= max_height:
            return rendition(gif_id, stored, file)
    return rendition(gif_id, stored, found[-1]) if found else None


def film_of(gif_id: str, stored: StoredFile) -> Rendition | None:
    """The MP4 of what moves."""
    file = stored.versions.get("mp4")
    return None if file is None else rendition(gif_id, stored, file)


def rendition(gif_id: str, stored: StoredFile, file: Kept) -> Rendition:
    """A file of a GIF under its address that stays."""
    name = next((name for name, version in stored.versions.items() if version is file), "")
    path = f"/g/{gif_id}{name and '/'}{name}.{extension_of(file)}"
    return Rendition(path, file.content_type, file.bytes, file.width, file.height)


def _pictures(stored: StoredFile) -> list[StoredVersion]:
    """The versions that are pictures; of what moves the GIFs, unless an earlier release has made
    none."""
    versions = _versions(stored, without=WHOLE)
    shown = [file for file in versions if file.content_type in SHOWN_TYPES]
    gifs = [file for file in shown if file.content_type == "image/gif"]
    return gifs if gifs and stored.frames > 1 else shown


def _versions(stored: StoredFile, without: tuple[str, ...] = ()) -> list[StoredVersion]:
    return [file for name, file in stored.versions.items() if name not in {*STILLS, *without}]
