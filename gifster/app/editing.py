"""Changing the edit of a GIF (see `edits`): its versions follow in the background."""

from collections.abc import Callable

from gifster.app.edits import Edit
from gifster.app.errors import Conflict, Invalid
from gifster.app.models import Gif, ImageUploader
from gifster.imaging import ImageInfo
from gifster.imaging.image_info import VIDEO_TYPES
from gifster.uploads.errors import TooLong

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
    info = _facts(row)
    if edit is not None and info is None:
        raise Conflict("nothing_to_edit", "The upload has failed: there is no picture to edit.")
    if info is not None:
        check_edit(info, edit)
    if edit == present and row.image_state != "failed":
        return
    row.edit = edit
    row.save(only=[Gif.edit])
    row.image.update_versions()


def check_edit(info: ImageInfo, edit: Edit | None) -> None:
    """Check an edit, or that there is none, for a picture with these facts.

    Raises:
      Invalid: the picture cannot be edited so (`edit_invalid`), or more of a long video would be
        shown than `uploads.max_video_s` (`too_long`).
    """
    if edit is not None:
        edit.check(info)
    longest_s = ImageUploader.max_video_s
    if info.content_type not in VIDEO_TYPES or not longest_s:
        return
    shown = edit or Edit()
    end_ms = info.duration_ms if shown.end is None else round(shown.end * 1000)
    shown_ms = end_ms - round((shown.start or 0) * 1000)
    if shown_ms > longest_s * 1000:
        what = "video plays for" if shown_ms == info.duration_ms else "edit shows"
        raise Invalid(
            TooLong.code, f"The {what} {shown_ms / 1000:.0f} seconds; the limit is {longest_s:g}."
        )


def _facts(row: Gif) -> ImageInfo | None:
    """The facts of the newest picture of a GIF; None if its upload has failed."""
    cached, stored = row.image.cached, row.image.stored
    if cached is not None:
        return cached.info
    if stored is None:
        return None
    return ImageInfo(
        stored.content_type, stored.width, stored.height, stored.frames, stored.duration_ms
    )
