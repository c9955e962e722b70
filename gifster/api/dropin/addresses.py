"""Where a client finds a file. People paste it into chats, so the address stays when the GIF is
edited, and when its picture is replaced: the storage's own URL does not."""

from collections.abc import Callable
from pathlib import PurePosixPath

from gifster.api.dropin.renditions import File
from gifster.app.boot import MEDIA
from gifster.app.originals import WHOLE
from gifster.app.settings import Settings
from gifster.imaging.image_info import extension
from gifster.uploads import StoredFile


def sent_here(settings: Settings) -> bool:
    """Whether `/g/{id}/{version}.{extension}` sends a file; those of a bucket are redirects."""
    return settings.store.kind != "s3"


class Addresses:
    """Makes the URLs of one answer.

    Parameters:
      home: what they begin with (`Context.home()`).
      direct: whether they are those of `sharing.files`, which send the files; if not, they are
        `/media/{id}/{name}`, which redirects to wherever the file is.
      place: the path that the API was asked under, such as `/proxy/tenor/api`.
      signed: makes a path one that a client may fetch (`Context.for_strangers()`).
    """

    def __init__(
        self, home: str, signed: Callable[[str], str], *, direct: bool, place: str = ""
    ) -> None:
        self.home, self.direct, self.place, self._signed = home, direct, place, signed

    def file(self, gif_id: str, file: File, name: str) -> str:
        """The URL of a file.

        Parameters:
          name: which `media.wanted()` knows as this file, without its extension.
        """
        ending = extension(file.content_type)
        if not self.direct:
            return self.home + self._signed(f"{MEDIA}/{gif_id}/{name}.{ending}")
        version = "" if isinstance(file, StoredFile) else PurePosixPath(file.key).stem
        # All of a picture is `/g/{id}.{extension}`.
        part = f"/{version}" if version and version not in WHOLE else ""
        return self.home + self._signed(f"/g/{gif_id}{part}.{ending}")

    def page(self, gif_id: str) -> str:
        """The URL of a GIF's page."""
        return f"{self.home}/gifs/{gif_id}"

    def link(self, gif_id: str) -> str:
        """The short URL of a GIF, which leads to its page; with an extension it is its file."""
        return f"{self.home}/g/{gif_id}"
