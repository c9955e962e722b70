"""Changing the edit of a GIF (see `edits`): its versions follow in the background."""

from collections.abc import Callable

from gifster.app.edits import Edit
from gifster.app.errors import Conflict
from gifster.app.models import Gif
from gifster.imaging import ImageInfo

#: Gets the present edit of a GIF, and returns the new one.
EditChange = Callable[[Edit | None], Edit | None]


def change_edit(row: Gif, change: EditChange) -> None:
    """Give a GIF another edit, and have a worker make its versions: in the transaction that has
    locked its row.

    An upload that still waits for its worker gets its versions by the new edit.

    Raises:
      Invalid: the picture cannot be edited so.
      Conflict: the upload has failed, and there is no picture to edit.
    """
    present: Edit | None = row.edit
    edit = change(present)
    if edit is not None:
        edit.check(_facts(row))
    if edit == present and row.image_state != "failed":
        return
    row.edit = edit
    row.save(only=[Gif.edit])
    row.image.update_versions()


def _facts(row: Gif) -> ImageInfo:
    """The facts of the newest picture of a GIF."""
    cached, stored = row.image.cached, row.image.stored
    if cached is not None:
        return cached.info
    if stored is None:
        raise Conflict("nothing_to_edit", "The upload has failed: there is no picture to edit.")
    return ImageInfo(
        stored.content_type, stored.width, stored.height, stored.frames, stored.duration_ms
    )
