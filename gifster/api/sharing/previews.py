"""What a link to a GIF tells to chats and other sites: its addresses, a picture and a text."""

import math
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import quote

from gifster.api.sharing.renditions import Rendition, film_of, own_file, picture_of
from gifster.app.models import Gif
from gifster.app.originals import is_edited
from gifster.uploads import StoredFile

SITE = "Gifster"


@dataclass(frozen=True)
class Preview:
    """A GIF for other sites.

    Attributes:
      home: what the addresses begin with (`Context.home()`).
      gif: the GIF.
      tags: its tags.
    """

    home: str
    gif: Gif
    tags: list[str]

    @cached_property
    def stored(self) -> StoredFile | None:
        return next(iter(Gif.image.stored_files(self.gif)), None)

    @property
    def page(self) -> str:
        """The address of the GIF's page."""
        return f"{self.home}/gifs/{self.gif.id}"

    @property
    def link(self) -> str:
        """The short address of the page, which people pass on."""
        return f"{self.home}/g/{self.gif.id}"

    @property
    def embed(self) -> str:
        """The address of the page that others put into a frame."""
        return f"{self.home}/embed/{self.gif.id}"

    @property
    def oembed(self) -> str:
        """The address of the oEmbed answer, but for its format."""
        return f"{self.home}/oembed?url={quote(self.page, safe='')}&format="

    @property
    def alt(self) -> str:
        """What the picture shows, as far as anybody has said it."""
        return self.gif.alt_text or self.gif.title

    @property
    def description(self) -> str:
        """A sentence below the title. Without one, Matrix shows the texts of our buttons."""
        tags = " ".join(f"#{tag}" for tag in self.tags)
        return self.gif.alt_text or tags or f"{self._kind} on {SITE}"

    @property
    def moves(self) -> bool:
        return self.stored is not None and self.stored.frames > 1

    def picture(
        self, max_width: float = math.inf, max_height: float = math.inf
    ) -> Rendition | None:
        """The picture that fits into a box; None until there is one."""
        if self.stored is None:
            return None
        return picture_of(self.gif.id, self.stored, max_width, max_height)

    def file(self) -> Rendition | None:
        """The file itself, in a format that others show."""
        if self.stored is None:
            return None
        return own_file(self.gif.id, self.stored, edited=is_edited(self.stored, self.gif.edit))

    def film(self) -> Rendition | None:
        """The film of what moves."""
        return None if self.stored is None else film_of(self.gif.id, self.stored)

    @property
    def _kind(self) -> str:
        return "An animation" if self.moves else "A picture"
