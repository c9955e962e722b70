"""The stored files of a GIF, and which of them comes nearest to a format of Tenor or GIPHY.

Gifster makes the formats that people see most (`ImageUploader`). Any other is answered by the file
of the same type that is nearest in size, with that file's true size: clients read it and adapt.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum

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


@dataclass(frozen=True)
class Wanted:
    """A file that a client asks for.

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
    """

    def __init__(self, stored: StoredFile) -> None:
        self.stored = stored
        self._files: dict[str, list[File]] = {}
        self._found: dict[Wanted, File | None] = {}
        moves = stored.frames > 1
        self._add(stored, moves)
        for name, version in stored.versions.items():
            self._add(version, moves and not name.endswith("poster"))

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
        if wanted in self._found:
            return self._found[wanted]
        kinds = (wanted.kind, *INSTEAD[wanted.kind]) if instead else (wanted.kind,)
        files = next((self._files[kind] for kind in kinds if kind in self._files), ())
        found = min(files, key=_distance(wanted, files), default=None)
        if instead or found is not None:
            self._found[wanted] = found
        return found


def _distance(wanted: Wanted, files: Iterable[File]) -> Callable[[File], tuple[float, ...]]:
    """How to sort files: the nearest first."""
    most, pixels, side = wanted.most_bytes, wanted.pixels, wanted.side
    if most:
        if any(file.bytes <= most for file in files):
            return lambda file: (file.bytes > most, -file.width * file.height, file.bytes)
        return lambda file: (file.bytes,)

    def distance(file: File) -> tuple[float, ...]:
        width, height = file.width, file.height
        if side is Side.WIDTH:
            has = width
        elif side is Side.HEIGHT:
            has = height
        else:
            has = width if width > height else height
        far = has / pixels
        return (far if far >= 1 or not far else 1 / far, file.bytes)

    return distance
