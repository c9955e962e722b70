"""Versions: what is made of an upload beside keeping the original."""

from collections.abc import Callable
from typing import Any

from gifster.uploads.imaging.recipe import Image

__all__ = ["Image", "Version", "version", "versions_of"]


class Version:
    """A method of an uploader that says how a version is made. Its name is the version's."""

    def __init__(self, recipe: Callable[[Any, Image], Image]) -> None:
        self._recipe = recipe
        self.name = recipe.__name__
        self.__doc__ = recipe.__doc__

    def recipe(self, uploader: object) -> Image:
        """What the method makes of an image, recorded."""
        return self._recipe(uploader, Image())


def version(recipe: Callable[[Any, Image], Image]) -> Version:
    """Declare a version of an upload.

    The method is handed an `Image`, records what shall be done to it, and returns it:

        @version
        def thumb(self, image: Image) -> Image:
            return image.fit(220, 220)
    """
    return Version(recipe)


def versions_of(uploader: type) -> dict[str, Version]:
    """The versions that an uploader class declares or inherits, by name."""
    found: dict[str, Version] = {}
    for owner in reversed(uploader.__mro__):
        found |= {v.name: v for v in vars(owner).values() if isinstance(v, Version)}
    return found
