"""Where a client finds a file, in an address that stays: people paste it into chats."""

from gifster.api.dropin.renditions import File
from gifster.api.links import absolute
from gifster.app.boot import MEDIA
from gifster.app.settings import Settings
from gifster.imaging.probe import extension


def lasting(settings: Settings) -> bool:
    """Whether the URLs of stored files stay valid. Those that are signed for a bucket expire."""
    return settings.store.kind != "s3" or bool(settings.store.base_url)


class Addresses:
    """Makes the URLs of one answer.

    Parameters:
      origin: what they begin with (`Context.origin()`).
      direct: whether they lead to the files themselves; if not, to `/media/{id}/{name}`, which
        redirects to wherever the file is.
      place: the path that the API was asked under, such as `/proxy/tenor/api`.
    """

    def __init__(self, origin: str, *, direct: bool, place: str = "") -> None:
        self.origin, self.direct, self.place = origin, direct, place
        self._known: dict[str, str] = {}

    def file(self, gif_id: str, file: File, name: str) -> str:
        """The URL of a file.

        Parameters:
          name: which `media.wanted()` knows as this file, without its extension.
        """
        if self.direct:
            url = self._known.get(file.key)
            if url is None:
                url = self._known[file.key] = absolute(self.origin, file.url())
            return url
        return f"{self.origin}{MEDIA}/{gif_id}/{name}.{extension(file.content_type)}"

    def page(self, gif_id: str) -> str:
        """The URL of a GIF's page."""
        return f"{self.origin}/gifs/{gif_id}"
