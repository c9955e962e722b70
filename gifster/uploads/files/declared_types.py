"""What a client says about the type of a file that it has not sent yet.

The content decides what a file is (`content_types`), so this can only find out early what must be
refused later. Browsers name the type by the file's extension, and not always well: Windows calls a
CSV file `application/vnd.ms-excel`, and others say `image/jpg` or `audio/wav`. So a type that we
detect is taken at its word. Any other may be an alias of one of its kind.
"""

from collections.abc import Callable

import filetype

from gifster.imaging.image_info import IMAGE_EXTENSIONS
from gifster.uploads.content_types import TYPES_BY_NAME, UNKNOWN_TYPE, named_type

_OFFICE = {"application/msword", "application/vnd.ms-excel", "application/vnd.ms-powerpoint"}
_DETECTED = {*IMAGE_EXTENSIONS, *TYPES_BY_NAME.values(), *(kind.mime for kind in filetype.types)}
#: Containers of sounds or films, or of both.
_MEDIA = ("audio/", "video/", "application/ogg", "application/mp4")


def may_be_accepted(declared: str, filename: str, accepts: Callable[[str], bool]) -> bool:
    """Whether a file may turn out to be of an accepted type.

    Parameters:
      declared: its content type, as a client says it; empty or `application/octet-stream` if the
        client does not know.
      filename: its name, which says what kind of text or document it is.
      accepts: whether a type is accepted.
    """
    declared = declared.partition(";")[0].strip().lower()
    if declared in ("", UNKNOWN_TYPE) or accepts(declared):
        return True
    named, kind = named_type(filename), _kind(declared)
    if named and accepts(named):
        return True
    if declared in _DETECTED - _OFFICE and kind != "media":
        return False
    return accepts(UNKNOWN_TYPE) or any(
        accepts(known) for known in _DETECTED if _kind(known) == kind
    )


def _kind(content_type: str) -> str:
    if content_type.startswith(_MEDIA):
        return "media"
    return "image" if content_type.startswith("image/") else "other"
