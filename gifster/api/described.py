"""The stored file of a GIF and its versions as JSON.

A list has some four hundred files, mostly the same ones each time. What everybody gets of a file
is remembered with its facts (`StoredFile.notes`), if it is on this machine. The URLs of a bucket
may be signed, and end.
"""

from collections.abc import Callable
from typing import NamedTuple

from gifster.api import schemas
from gifster.api.links import absolute
from gifster.api.media import guarded_url, plain_url, storage_of
from gifster.app import originals
from gifster.app.access import is_for_everybody
from gifster.app.models import Gif
from gifster.imaging.image_info import VIDEO_TYPES
from gifster.uploads import LocalStorage
from gifster.uploads.files.stored import StoredFile, StoredVersion

#: With how many origins and choices of versions a file is remembered. A client may send any host
#: that is ours.
MOST = 2

Url = Callable[[StoredFile | StoredVersion], str]


class Described(NamedTuple):
    """Parts of a GIF as JSON. Others have them, too: change nothing in them."""

    image: schemas.Image
    versions: dict[str, schemas.Version]
    placeholder: schemas.Placeholder


def described(
    stored: StoredFile, origin: str, only: frozenset[str] | None, *, for_everybody: bool
) -> Described:
    """A stored file and its versions as JSON.

    Parameters:
      origin: what its URLs begin with (`Context.origin()`); empty for a page.
      only: the names of the versions that are wanted; None for all.
      for_everybody: whether everybody may see the file (`access.is_for_everybody()`).

    Raises:
      Unreadable: the key or the storage of a file is none.
    """
    if not for_everybody:
        return _made(stored, origin, only, guarded_url)
    store = storage_of(stored)
    if type(store) is not LocalStorage or not isinstance(store.base_url, str):
        return _made(stored, origin, only, plain_url)
    notes, of = stored.notes, (origin, only, store)
    found: Described | None = notes.get(of)
    if found is None:
        found = _made(stored, origin, only, plain_url)
        if all(name == stored.storage for name, _ in stored.files):
            if len(notes) >= MOST:
                notes.clear()
            notes[of] = found
    return found


def _made(stored: StoredFile, origin: str, only: frozenset[str] | None, url: Url) -> Described:
    image: schemas.Image = {
        "url": absolute(origin, url(stored)),
        "content_type": stored.content_type,
        "bytes": stored.bytes,
        "width": stored.width,
        "height": stored.height,
        "frames": stored.frames,
        "duration_ms": stored.duration_ms,
        "loop": stored.loop,
        "sha256": stored.sha256,
    }
    if stored.content_type in VIDEO_TYPES:
        image["has_sound"] = stored.has_sound
    versions: dict[str, schemas.Version] = {
        name: {
            "url": absolute(origin, url(version)),
            "content_type": version.content_type,
            "bytes": version.bytes,
            "width": version.width,
            "height": version.height,
        }
        for name, version in stored.versions.items()
        if only is None or name in only
    }
    return Described(image, versions, {"color": stored.color, "thumbhash": stored.thumbhash})


def image_of_edited(
    gif: Gif, stored: StoredFile, origin: str, *, original: bool
) -> schemas.Image | None:
    """The image of an edited GIF as JSON: its original, or what takes the place of that.

    Parameters:
      stored: its stored file.
      origin: as `described()` takes it.
      original: whether it may be the original.
    """
    picture = originals.picture(stored, gif.edit, original=original)
    if picture is None:
        return None
    file = picture.file
    is_open = is_for_everybody(gif) and not picture.is_original
    image: schemas.Image = {
        "url": absolute(origin, (plain_url if is_open else guarded_url)(file)),
        "content_type": file.content_type,
        "bytes": file.bytes,
        "width": file.width,
        "height": file.height,
        "frames": picture.frames,
        "duration_ms": picture.duration_ms,
        "loop": stored.loop,
        "sha256": file.sha256,
    }
    if file.content_type in VIDEO_TYPES:
        image["has_sound"] = picture.is_original and stored.has_sound
    return image
