"""Derivations: versions that are made when somebody first asks for their URL (Shrine's
`derivation_endpoint`).

    class PhotoUploader(Uploader):
        derivations_url = "/derivations/photos"

        @derivation
        def box(self, image: Image, width: int, height: int) -> Image:
            return image.fill(width, height)

    post.photo.derivation_url("box", 600, 400)      # /derivations/photos/box-WyJz….jpg

The URL is signed, so nobody can have versions made that no page shows. `endpoints/deriving.py`
serves it, and `making.py` makes each derivation once.
"""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import itsdangerous

from gifster import jobs
from gifster.imaging.image_info import extension
from gifster.imaging.recipe import Image
from gifster.uploads.config import config
from gifster.uploads.declarations import Declared, declared
from gifster.uploads.files.stored import StoredFile
from gifster.uploads.versions.declaring import as_recipe

Recipe = Callable[..., Image]
#: What a recipe's arguments may be.
Argument = str | int | float | bool | None


class Derivation(Declared):
    """A method of an uploader that makes a derivation. The derivation has the method's name."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe, self.name = recipe, recipe.__name__
        self.__doc__ = recipe.__doc__


def derivation(recipe: Recipe) -> Derivation:
    """Declare a version that is made when its URL is first requested.

    The method gets an `Image` and the arguments of the URL, records what to do, and returns it:

        @derivation
        def box(self, image: Image, width: int, height: int) -> Image:
            return image.fill(width, height)

    It runs without a record (`self.record` is None), and may not use `Image.apply()`: a derivation
    is made in the sandbox.
    """
    return Derivation(recipe)


def derivations_of(uploader: type) -> dict[str, Derivation]:
    """The derivations that an uploader class declares or inherits, by name."""
    return declared(uploader, Derivation)


class NoSuchDerivation(LookupError):
    """The URL was not made here, has expired, or names a derivation that is no longer declared."""


@dataclass(frozen=True)
class Wanted:
    """A derivation of one stored file, as its URL tells.

    Attributes:
      storage, source: where the original is, and where the derivation goes.
      name: the derivation's.
      recipe: what to do with the original.
      content_type: of the result.
      expires_at: when the URL expires (seconds since the epoch); None for never.
      is_current: whether the URL was made with this very recipe. If not, the uploader has changed
        since.
    """

    storage: str
    source: str
    name: str
    recipe: Image
    content_type: str
    expires_at: int | None = None
    is_current: bool = True

    @property
    def key(self) -> str:
        """The key of the derivation, in a folder beside its original. It follows from the recipe:
        an uploader that changes gets new files."""
        digest = hashlib.sha256(f"{self.source} {canonical(self.recipe)}".encode()).hexdigest()
        folder = PurePosixPath(self.source).parent
        return f"{folder}/derived/{self.name}-{digest[:32]}.{extension(self.content_type)}"


def wanted(
    uploader: type,
    stored: StoredFile,
    name: str,
    arguments: tuple[Argument, ...],
    expires_s: int | None = None,
) -> Wanted:
    """A derivation of a stored image.

    Parameters:
      expires_s: how long the URL is to be valid (seconds); None for ever.

    Raises:
      LookupError: the uploader declares no derivation of that name.
      TypeError: the method does not take these arguments, or its recipe has a function.
    """
    recipe = _recipe(uploader, name, arguments)
    expires_at = None if expires_s is None else int(jobs.now()) + expires_s
    content_type = recipe.result_type(stored.content_type)
    return Wanted(stored.storage, stored.key, name, recipe, content_type, expires_at)


def signed(
    uploader: type, wanted: Wanted, source_type: str, arguments: tuple[Argument, ...]
) -> str:
    """The last part of the URL: the derivation's name, a signed text that names the file and the
    arguments, too, and the extension of the result."""
    digest = _digest(wanted.recipe)
    parts: list[Any] = [wanted.storage, wanted.source, source_type, wanted.name, arguments, digest]
    if wanted.expires_at is not None:
        parts.append(wanted.expires_at)
    # A signed text may begin with a dot, and many servers hide such files.
    return f"{wanted.name}-{_signer(uploader).dumps(parts)}.{extension(wanted.content_type)}"


def read(uploader: type, path: str) -> Wanted:
    """The derivation that a URL asks for: the reverse of `signed()`.

    Raises:
      NoSuchDerivation
    """
    text, _, ending = path.rpartition(".")
    begin, _, text = text.partition("-")
    try:
        storage, source, source_type, name, arguments, digest, *rest = _signer(uploader).loads(text)
        recipe = _recipe(uploader, name, tuple(arguments))
    except (itsdangerous.BadData, LookupError, TypeError, ValueError):
        raise NoSuchDerivation("There is no such picture.") from None
    expires_at = rest[0] if rest else None
    if expires_at is not None and expires_at <= jobs.now():
        raise NoSuchDerivation("This address has expired: load the page again.")
    content_type = recipe.result_type(source_type)
    found = Wanted(
        storage, source, name, recipe, content_type, expires_at, digest == _digest(recipe)
    )
    if begin != name or (found.is_current and extension(content_type) != ending):
        raise NoSuchDerivation("There is no such picture.")
    return found


def _recipe(uploader: type, name: str, arguments: tuple[Argument, ...]) -> Image:
    try:
        declared = derivations_of(uploader)[name]
    except KeyError:
        raise LookupError(f"{uploader.__name__} has no derivation {name!r}") from None
    unbound: Any = object.__new__(uploader)
    unbound.record = None
    recipe = as_recipe(uploader, name, declared.recipe(unbound, Image(), *arguments))
    if recipe.functions:
        raise TypeError(
            f"the derivation {name!r} uses apply(), which would run outside the sandbox: "
            "declare a version instead"
        )
    return recipe


def canonical(recipe: Image) -> str:
    """The recipe as a text. What a later release adds to recipes does not change it."""
    changed = {
        field.name: getattr(recipe, field.name)
        for field in dataclasses.fields(recipe)
        if getattr(recipe, field.name) != field.default
    }
    return json.dumps(changed, sort_keys=True, default=_named)


def _named(value: Any) -> str:
    """A value of a recipe as a text, the same in each process."""
    if isinstance(value, functools.partial):
        return f"{_named(value.func)}{value.args}{sorted(value.keywords.items())}"
    if not callable(value):
        return str(value)
    return str(getattr(value, "__qualname__", type(value).__qualname__))


def _digest(recipe: Image) -> str:
    return hashlib.sha256(canonical(recipe).encode()).hexdigest()[:8]


def _signer(uploader: type) -> itsdangerous.URLSafeSerializer:
    if not config.secrets:
        raise RuntimeError("derivations are signed: call gifster.uploads.configure(…, secret=…)")
    salt = f"gifster.uploads.derivation:{uploader.__module__}.{uploader.__qualname__}"
    return itsdangerous.URLSafeSerializer(config.secrets, salt=salt)
