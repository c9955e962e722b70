"""Who gets the original of an edited GIF, and what others get in its place (decision 85).

An edit may cut off what is nobody's business. So the original of a GIF with an edit is for those
who may change the GIF. For everybody else its picture is what the edit selects.

That also holds when the edit is gone already, but the versions are still those that were made with
it: a replacement of the picture ends the edit, and the old picture stays until the new one is
stored, or for good if that is damaged.
"""

from dataclasses import dataclass

from gifster.app.access import FileStanding
from gifster.app.edits import Edit
from gifster.uploads import StoredFile, StoredVersion

#: What an edit selects, as large as it is. It takes the place of the original.
WHOLE = ("full", "fullmp4")
#: Versions that show the first frame of what moves.
STILLS = {"poster", "tinyposter", "nanoposter"}

#: The original or a version.
Kept = StoredFile | StoredVersion


@dataclass(frozen=True)
class Picture:
    """The picture of a GIF, as somebody may see it.

    Attributes:
      file: the original, or the version that takes its place.
      frames, duration_ms: of what the file shows. For a version, the frames are estimated.
    """

    file: Kept
    frames: int
    duration_ms: int

    @property
    def is_original(self) -> bool:
        return isinstance(self.file, StoredFile)


def is_edited(stored: StoredFile, edit: Edit | None) -> bool:
    """Whether a GIF shows less than its original.

    Parameters:
      edit: the GIF's.
    """
    return edit is not None or bool(stored.steps)


def picture(stored: StoredFile, edit: Edit | None, *, original: bool) -> Picture | None:
    """The picture of a GIF; None if no version can take the place of the original yet.

    Parameters:
      edit: the GIF's.
      original: whether it may be the original: for those who may change the GIF (`may_edit()`).
    """
    if original or not is_edited(stored, edit):
        return Picture(stored, stored.frames, stored.duration_ms)
    file = shown(stored)
    if file is None:
        return None
    return Picture(file, *(edit or Edit()).selected(stored.frames, stored.duration_ms))


def shown(stored: StoredFile) -> StoredVersion | None:
    """What an edit selects: as large as it is, or the largest version until that is made."""
    for name in WHOLE:
        if name in stored.versions:
            return stored.versions[name]
    whole = [version for name, version in stored.versions.items() if name not in STILLS]
    return max(whole, key=quality, default=None)


def quality(file: StoredVersion) -> tuple[int, int]:
    """For comparing versions: of two of one size, the smaller file has lost more."""
    return file.width * file.height, file.bytes


def is_withheld(standing: FileStanding, key: str) -> bool:
    """Whether a file of a GIF is only for those who may change the GIF: the original, while that is
    not for everybody, or a file of a former picture, until a worker has removed it. It runs with
    each file that is served."""
    image = standing.image
    if image is None or f'"{key}"' not in image:
        return True
    # Nearly all GIFs have neither an edit nor this word, and need not be read.
    if not (standing.edited or '"steps"' in image):
        return False
    stored = StoredFile.loads(image)
    versions = {version.key for version in stored.versions.values()}
    return (standing.edited or bool(stored.steps)) and key not in versions
