"""Versions and processing steps: an uploader declares the files to make from an upload."""

from collections.abc import Callable
from typing import Any, overload

from gifster.imaging.probe import ImageInfo
from gifster.imaging.recipe import Image

__all__ = ["Image", "Process", "Version", "process", "processes_of", "version", "versions_of"]

Recipe = Callable[[Any, Image], Image]
Condition = Callable[[Any, ImageInfo], bool]


class Process:
    """A method of an uploader that changes every upload before it is stored."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe, self.name = recipe, recipe.__name__
        self.__doc__ = recipe.__doc__


def process(recipe: Recipe) -> Process:
    """Declare a processing step (CarrierWave's `process`).

    It applies to the original before it is stored, and so to all versions. Several steps apply in
    the order of their declaration:

        @process
        def shrink(self, image: Image) -> Image:
            return image.fit(2000, 2000)
    """
    return Process(recipe)


class Version:
    """A method of an uploader that makes a version. The version has the method's name."""

    def __init__(  # noqa: PLR0913
        self,
        recipe: Recipe,
        *,
        of: str | None = None,
        when: Condition | None = None,
        storage: str | None = None,
        later: bool = False,
        smaller_than: str | None = None,
    ) -> None:
        self.recipe, self.name = recipe, recipe.__name__
        self.of, self.when, self.storage = of, when, storage
        self.later, self.smaller_than = later, smaller_than
        self.__doc__ = recipe.__doc__


@overload
def version(recipe: Recipe, /) -> Version: ...
@overload
def version(
    *,
    of: str | None = None,
    when: Condition | None = None,
    storage: str | None = None,
    later: bool = False,
    smaller_than: str | None = None,
) -> Callable[[Recipe], Version]: ...
def version(  # noqa: PLR0913
    recipe: Recipe | None = None,
    /,
    *,
    of: str | None = None,
    when: Condition | None = None,
    storage: str | None = None,
    later: bool = False,
    smaller_than: str | None = None,
) -> Version | Callable[[Recipe], Version]:
    """Declare a version of an upload (CarrierWave's `version`).

    The method gets an `Image`, records what to do with it, and returns it:

        @version
        def thumb(self, image: Image) -> Image:
            return image.fit(220, 220)

        @version(of="thumb", when=lambda uploader, info: info.frames > 1)
        def poster(self, image: Image) -> Image:
            return image.first_frame().convert("webp")

    Parameters:
      of: the name of another version to build on. This version is made only if that one is, and its
        method gets the `Image` that the other method returned (CarrierWave's nested versions,
        `from_version`).
      when: a function of the uploader and the original's facts. The version is made if it returns
        True.
      storage: the name of the storage for this version; by default the uploader's.
      later: with `store_in_background`, store and show the upload as soon as all versions without
        `later` are made. Its state is `processing` until this one is stored, too.
      smaller_than: the name of another version. This one is left out unless it has fewer bytes.
    """
    if recipe is not None:
        return Version(recipe)
    return lambda recipe: Version(
        recipe, of=of, when=when, storage=storage, later=later, smaller_than=smaller_than
    )


def processes_of(uploader: type) -> list[Process]:
    """The processing steps that an uploader class declares or inherits, in their order."""
    return list(_declared(uploader, Process).values())


def versions_of(uploader: type) -> dict[str, Version]:
    """The versions that an uploader class declares or inherits, by name. Each comes after the one
    that it builds on.

    Raises:
      TypeError: `of` or `smaller_than` names a version that does not exist, or versions build on
        one another in a circle.
    """
    declared: dict[str, Version] = _declared(uploader, Version)
    for version in declared.values():
        if version.smaller_than is not None and version.smaller_than not in declared:
            raise TypeError(
                f"{uploader.__name__}.{version.name} has smaller_than={version.smaller_than!r}, "
                "but there is no version of that name"
            )
    ordered: dict[str, Version] = {}
    while len(ordered) < len(declared):
        ready = {
            name: version
            for name, version in declared.items()
            if name not in ordered and (version.of is None or version.of in ordered)
        }
        if not ready:
            lost = ", ".join(name for name in declared if name not in ordered)
            raise TypeError(
                f"{uploader.__name__}: these versions build on a missing version or on themselves: "
                f"{lost}"
            )
        ordered |= ready
    return ordered


def _declared(uploader: type, kind: type[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for owner in reversed(uploader.__mro__):
        for name, value in vars(owner).items():
            if isinstance(value, kind):
                found[name] = value
            else:
                found.pop(name, None)  # an uploader may undo what it inherits: `thumb = None`
    return found
