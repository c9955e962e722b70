"""The stored files of a GIF, and which of them comes nearest to a format of Tenor or GIPHY.

Gifster makes the formats that people see most (`ImageUploader`). Any other is answered by the file
of the same type that is nearest in size, with that file's true size: clients read it and adapt.
"""

import math
from dataclasses import dataclass
from enum import Enum

from gifster.app.edits import Edit
from gifster.app.originals import STILLS, is_edited, picture
from gifster.uploads import StoredFile, StoredVersion

File = StoredFile | StoredVersion

GIF, WEBP, MP4, WEBM = "image/gif", "image/webp", "video/mp4", "video/webm"
#: Not a type of its own: a picture of any type that does not move.
STILL = "still"
#: What stands in for a type that a GIF does not have. A browser plays either video where it is
#: asked for the other, and shows any picture.
INSTEAD = {MP4: (WEBM,), WEBM: (MP4,), WEBP: (GIF,), STILL: (GIF, WEBP), GIF: ()}
#: An original may have 50 MB, which nobody wants in a chat: if it has more than this (bytes), a
#: smaller GIF stands for it.
MOST_BYTES = 8_000_000


class Side(Enum):
    """By which side files are compared."""

    WIDTH = "width"
    HEIGHT = "height"
    #: The longer one: the file fits into a square.
    BOX = "box"


@dataclass(frozen=True, eq=False)
class Wanted:
    """A file that a client asks for. Each is made once, and compared by identity: a page of results
    looks for hundreds.

    Parameters:
      kind: a content type, or `STILL`.
      side, pixels: its size.
      most_bytes: if not 0, the largest file with at most so many bytes is wanted instead.
    """

    kind: str
    side: Side = Side.BOX
    pixels: int = 480
    most_bytes: int = 0


class Renditions:
    """The files of one GIF.

    Parameters:
      stored: its stored image.
      edit: the GIF's. With one, the original is not among the files (`app.originals`).
    """

    def __init__(self, stored: StoredFile, edit: Edit | None = None) -> None:
        self.stored, edited = stored, is_edited(stored, edit)
        #: None if no version takes the place of the original of an edited GIF yet.
        self.picture = picture(stored, edit, original=False)
        self._files: dict[str, list[File]] = {}
        self._found: dict[Wanted, File] = {}
        moves = stored.frames > 1
        if not edited:
            self._add(stored, moves)
        for name, version in stored.versions.items():
            self._add(version, moves and name not in STILLS)

    def _add(self, file: File, moves: bool) -> None:
        if not moves:
            self._files.setdefault(STILL, []).append(file)
        # A still GIF is a GIF, too.
        if moves or file.content_type == GIF:
            self._files.setdefault(file.content_type, []).append(file)

    @property
    def has_gif(self) -> bool:
        """Whether one of the files is a GIF, which all clients insist on. A still that came as
        PNG, JPEG, WebP or AVIF has none."""
        return GIF in self._files

    def find(self, wanted: Wanted, *, instead: bool = True) -> File | None:
        """The file nearest to a wanted one; None if there is none of its type.

        Parameters:
          instead: whether a file of another type can stand in.
        """
        found = self._found.get(wanted)
        if found is not None:
            return found
        kinds = (wanted.kind, *INSTEAD[wanted.kind]) if instead else (wanted.kind,)
        files = next((self._files[kind] for kind in kinds if kind in self._files), None)
        if not files:
            return None
        if wanted.most_bytes:
            found = _largest(files, wanted.most_bytes)
        else:
            found = _nearest(files, wanted.side, wanted.pixels)
        self._found[wanted] = found
        return found


def _largest(files: list[File], most_bytes: int) -> File:
    """The largest picture of at most so many bytes; the smallest file if all have more."""
    small = [file for file in files if file.bytes <= most_bytes]
    if not small:
        return min(files, key=lambda file: file.bytes)
    return max(small, key=lambda file: (file.width * file.height, -file.bytes))


def _nearest(files: list[File], side: Side, pixels: int) -> File:
    """The file that would have to be scaled least; of several the one with the fewest bytes."""
    nearest, least = files[0], math.inf
    for file in files:
        has, height = file.width, file.height
        if side is Side.HEIGHT or (side is Side.BOX and height > has):
            has = height
        far = has / pixels if has >= pixels else pixels / max(1, has)
        if far < least or (far == least and file.bytes < nearest.bytes):
            nearest, least = file, far
    return nearest
