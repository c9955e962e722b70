"""Versions and processing steps: an uploader declares the files to make from an upload."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal, Self, overload

from gifster.imaging.image_info import ImageInfo
from gifster.imaging.recipe import Image
from gifster.uploads.declarations import Declared, declared
from gifster.uploads.files.uploader_version import UploaderVersion

__all__ = [
    "Image",
    "Process",
    "Version",
    "process",
    "processes_of",
    "shown_by",
    "version",
    "versions_of",
]

_UNCHANGED = Image()
Recipe = Callable[[Any, Image], Image]
FileStep = Callable[[Any, Path], Path | bytes]
Condition = Callable[[Any, ImageInfo], bool]


class _Step(Declared):
    """A method of an uploader that records a recipe, or (`file`) makes a file of a file."""

    def __init__(self, function: Recipe | FileStep, *, when: Condition | None, file: bool) -> None:
        for given, what in ((function, "the method"), (when, "when")):
            if given is not None and not callable(given):
                raise TypeError(
                    f"{what} is {given!r}, which cannot be called: decorate a method, as @version "
                    "or @version(when=lambda uploader, info: …) do"
                )
        self.function, self.name = function, function.__name__
        self.when, self.file = when, file
        self.__doc__ = function.__doc__

    def is_due(self, uploader: Any, info: ImageInfo) -> bool:
        """Whether its condition holds, if it has one.

        Parameters:
          info: the facts of the original.
        """
        return self.when is None or self.when(uploader, info)

    def record(self, uploader: Any, image: Image) -> Image:
        """The recipe, after the steps that this method records."""
        recipe: Any = self.function
        return as_recipe(type(uploader), self.name, recipe(uploader, image))


def as_recipe(uploader: type, name: str, returned: object) -> Image:
    """What a method of an uploader returned, if it is a recipe.

    Raises:
      TypeError: it is none; says what to write.
    """
    if not isinstance(returned, Image):
        raise TypeError(
            f"{uploader.__name__}.{name}() returned {returned!r}: return the image that it gets, "
            "after calls such as image.fit(220, 220). A version that is made of a file needs "
            "file=True"
        )
    return returned


class Process(_Step):
    """A method of an uploader that changes every upload before it is stored, or (without
    `original`) what its versions are made of."""

    def __init__(
        self,
        function: Recipe | FileStep,
        *,
        when: Condition | None,
        file: bool,
        original: bool,
    ) -> None:
        super().__init__(function, when=when, file=file)
        self.original = original


@overload
def process(recipe: Recipe, /) -> Process: ...
@overload
def process(
    *, when: Condition | None = None, original: bool = True
) -> Callable[[Recipe], Process]: ...
@overload
def process(
    *, file: Literal[True], when: Condition | None = None
) -> Callable[[FileStep], Process]: ...
def process(
    recipe: Recipe | None = None,
    /,
    *,
    when: Condition | None = None,
    file: bool = False,
    original: bool = True,
) -> Process | Callable[[Recipe], Process] | Callable[[FileStep], Process]:
    """Declare a processing step (CarrierWave's `process`).

    It applies to the original before it is stored, and so to all versions. Several steps apply in
    the order of their declaration:

        @process
        def shrink(self, image: Image) -> Image:
            return image.fit(2000, 2000)

        @process(file=True, when=lambda uploader, info: info.content_type == "text/csv")
        def tidy(self, file: Path) -> Path | bytes:
            return file.read_bytes().replace(b"\r\n", b"\n")

        @process(original=False)
        def edited(self, image: Image) -> Image:
            return image.crop(*self.record.crop) if self.record.crop else image

    Parameters:
      when: a function of the uploader and the file's facts. The step applies if it returns True.
      file: whether the method gets a file rather than an `Image`; see `version()`.
      original: whether the original is stored as this step leaves it. If not, it is stored as it
        was uploaded, and all versions begin with this step, except those that a method with
        `file=True` makes. When what the step reads of the record changes, call
        `update_versions()`.

    Raises:
      TypeError: the step makes a file, and leaves the original alone: make it a version.
    """
    if file and not original:
        raise TypeError(
            "process(file=True, original=False) would make a file that nobody keeps: declare a "
            "version with file=True, and others of= it"
        )
    if recipe is not None:
        return Process(recipe, when=when, file=file, original=original)
    return lambda function: Process(function, when=when, file=file, original=original)


class Version(_Step):
    """A method of an uploader that makes a version. The version has the method's name.

    On an uploader's instance the name stands for the version itself (see `UploaderVersion`).
    """

    reserved = frozenset({"original"})  # the name of the original among the files

    def __init__(  # noqa: PLR0913
        self,
        function: Recipe | FileStep,
        *,
        of: str | None = None,
        when: Condition | None = None,
        storage: str | None = None,
        later: bool = False,
        smaller_than: str | None = None,
        file: bool = False,
    ) -> None:
        super().__init__(function, when=when, file=file)
        self.of, self.storage = of, storage
        self.later, self.smaller_than = later, smaller_than

    @overload
    def __get__(self, uploader: None, owner: type[Any]) -> Self: ...
    @overload
    def __get__(self, uploader: object, owner: type[Any]) -> UploaderVersion: ...
    def __get__(self, uploader: object, owner: type[Any]) -> Self | UploaderVersion:
        return self if uploader is None else UploaderVersion(uploader, self.name)


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
@overload
def version(
    *,
    file: Literal[True],
    of: str | None = None,
    when: Condition | None = None,
    storage: str | None = None,
    later: bool = False,
    smaller_than: str | None = None,
) -> Callable[[FileStep], Version]: ...
def version(  # noqa: PLR0913
    recipe: Recipe | None = None,
    /,
    *,
    of: str | None = None,
    when: Condition | None = None,
    storage: str | None = None,
    later: bool = False,
    smaller_than: str | None = None,
    file: bool = False,
) -> Version | Callable[[Recipe], Version] | Callable[[FileStep], Version]:
    """Declare a version of an upload (CarrierWave's `version`).

    The method gets an `Image`, records what to do with it, and returns it. A file that is not an
    image has no such versions:

        @version
        def thumb(self, image: Image) -> Image:
            return image.fit(220, 220)

        @version(of="thumb", when=lambda uploader, info: info.frames > 1)
        def poster(self, image: Image) -> Image:
            return image.first_frame().convert("webp")

    With `file=True` it gets the path of a copy of the file, whatever that is, and returns the path
    of a file, or bytes. It may change the copy in place, or write beside it. The extension of the
    returned path, or of the copy for bytes, says what kind of text it is:

        @version(file=True, when=lambda uploader, info: info.content_type == "application/pdf")
        def page(self, file: Path) -> Path:
            subprocess.run(["pdftoppm", "-singlefile", "-png", file, file.parent / "page"])
            return file.parent / "page.png"

        @version(of="page")
        def preview(self, image: Image) -> Image:
            return image.fit(480, 480)

    Parameters:
      of: the name of another version to build on. This version is made only if that one is, and its
        method gets the `Image` that the other method returned, or the file that it made
        (CarrierWave's nested versions, `from_version`).
      when: a function of the uploader and the original's facts. The version is made if it returns
        True.
      storage: the name of the storage for this version; by default the uploader's.
      later: with `store_in_background`, store and show the upload as soon as all versions without
        `later` are made. Its state is `processing` until this one is stored, too.
      smaller_than: the name of another version. This one is left out unless it has fewer bytes.
      file: whether the method gets a file rather than an `Image`. It runs in the worker's own
        process, outside of the sandbox.
    """
    if recipe is not None:
        return Version(recipe)
    return lambda function: Version(
        function,
        of=of,
        when=when,
        storage=storage,
        later=later,
        smaller_than=smaller_than,
        file=file,
    )


def processes_of(uploader: type) -> list[Process]:
    """The processing steps of the original that an uploader class declares or inherits, in their
    order."""
    return [step for step in declared(uploader, Process).values() if step.original]


def shown_by(uploader: Any, info: ImageInfo, image: Image = _UNCHANGED) -> Image:
    """The recipe with which all versions begin.

    Parameters:
      info: the facts of the original.
      image: what the steps of the original have left to do.
    """
    for step in declared(type(uploader), Process).values():
        if not step.original and info.is_image and step.is_due(uploader, info):
            image = step.record(uploader, image)
    return image


def check_versions(uploader: type, names: Iterable[str]) -> None:
    """Raise `LookupError` for the name of a version that an uploader class does not have."""
    known = versions_of(uploader)
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise LookupError(
            f"{uploader.__name__} has no version {unknown[0]!r}; it declares: "
            f"{', '.join(known) or 'none'}"
        )


def versions_of(uploader: type) -> dict[str, Version]:
    """The versions that an uploader class declares or inherits, by name. Each comes after the one
    that it builds on.

    Raises:
      TypeError: `of` or `smaller_than` names a version that does not exist, or versions build on
        one another in a circle.
    """
    versions: dict[str, Version] = declared(uploader, Version)
    for version in versions.values():
        if version.smaller_than is not None and version.smaller_than not in versions:
            raise TypeError(
                f"{uploader.__name__}.{version.name} has smaller_than={version.smaller_than!r}, "
                "but there is no version of that name"
            )
    ordered: dict[str, Version] = {}
    while len(ordered) < len(versions):
        ready = {
            name: version
            for name, version in versions.items()
            if name not in ordered and (version.of is None or version.of in ordered)
        }
        if not ready:
            lost = ", ".join(name for name in versions if name not in ordered)
            raise TypeError(
                f"{uploader.__name__}: these versions build on a missing version or on themselves: "
                f"{lost}"
            )
        ordered |= ready
    return ordered
