"""Make the versions of one image.

`render()` is the entrance. It runs `render_unsandboxed()` in a process of its own (`sandbox`), and
`render_here` does the work there.
"""

import tempfile
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import PIL.Image

from gifster.imaging import memory
from gifster.imaging.fingerprint import Fingerprint
from gifster.imaging.image_info import ImageInfo
from gifster.imaging.probe import probe
from gifster.imaging.recipe import Image
from gifster.imaging.sandbox import LIMITS, run_sandboxed

_UNCHANGED = Image()
#: Whether `render()` starts a process; see `without_sandbox()`.
_is_sandboxed = True


def render(  # noqa: PLR0913, PLR0917
    source: Path,
    info: ImageInfo,
    recipes: Mapping[Path, Image],
    original: Image | None = _UNCHANGED,
    smaller_than: Mapping[Path, Path] | None = None,
    shown: Image | None = None,
) -> Generator[Fingerprint | Path, None, None]:
    """Make versions of an image in a sandboxed process, all animations from one decoding.

    Frame times and loop count stay, unless the recipe or the format requires otherwise. A version
    whose recipe changes nothing is a copy of the source, unless the source has metadata. Recipes
    with functions of the caller (`Image.apply`) run in the caller's process.

    Parameters:
      source: the image file.
      info: what `probe()` returned for it.
      recipes: the recipe for each file to write, the most urgent first.
      original: the recipe for the image itself; the fingerprint is of its result. If None, the
        fingerprint is of what is `shown`, which saves a decoding if that is a part of an animation.
      smaller_than: for some targets another target that they must be smaller than. Such a target
        may be left out if it is unlikely to be smaller.
      shown: the recipe with which the others begin; the colour and the ThumbHash are of its result.
        By default it is `original`.

    Returns:
      an iterator over the fingerprint of the original, and each path when its file is complete.
      Versions that their format cannot hold are left out (see `Image.convert`).

    Raises:
      Unreadable: the file is no image, cannot be decoded, or not within the limits (see `sandbox`).
    """
    ours = {target: recipe for target, recipe in recipes.items() if not recipe.functions}
    theirs = {target: recipe for target, recipe in recipes.items() if recipe.functions}
    if _is_sandboxed:
        limits = memory.limits(source, info, ours.values()) if info.is_image else LIMITS
        yield from run_sandboxed(
            render_unsandboxed, source, info, ours, original, smaller_than, shown, limits=limits
        )
    else:
        yield from render_unsandboxed(source, info, ours, original, smaller_than, shown)
    if theirs:
        rendering = render_unsandboxed(source, info, theirs, original, None, shown)
        yield from (made for made in rendering if made in theirs)


def render_unsandboxed(  # noqa: PLR0913, PLR0917
    source: Path,
    info: ImageInfo,
    recipes: Mapping[Path, Image],
    original: Image | None = _UNCHANGED,
    smaller_than: Mapping[Path, Path] | None = None,
    shown: Image | None = None,
) -> Iterator[Fingerprint | Path]:
    """Do what `render()` does, in this process and without limits."""
    from gifster.imaging.render_here import render_here  # noqa: PLC0415 it loads all codecs

    return render_here(source, info, recipes, original, smaller_than, shown)


@contextmanager
def without_sandbox() -> Iterator[None]:
    """Let `render()` work in this process, without limits of memory and time, for as long as the
    `with` block lasts. It is for tests: a process takes longer than a small picture.

    No picture of a stranger may come while it lasts. It counts for all threads.
    """
    global _is_sandboxed  # noqa: PLW0603 for the threads of workers, too
    before, _is_sandboxed = _is_sandboxed, False
    try:
        yield
    finally:
        _is_sandboxed = before


def preload() -> None:
    """Do what every picture needs, before a process forks for each: import the modules that are
    otherwise imported late, and fill the caches of Python and the codecs with a tiny animation."""
    from gifster.imaging import render_here, video  # noqa: F401, PLC0415

    video.preload()
    with suppress(Exception), tempfile.TemporaryDirectory() as folder:
        # Whatever goes wrong will go wrong again with a picture, and is told then.
        _make_tiny(Path(folder))


def _make_tiny(folder: Path) -> None:
    """Make an animation of a few pixels, and versions of it in the commonest formats."""
    source, smaller = folder / "source.gif", Image().fit(8, 8)
    first, second = (PIL.Image.new("RGB", (16, 16), color) for color in ("white", "black"))
    first.save(source, save_all=True, append_images=[second])
    recipes = {folder / "same": Image(), folder / "gif": smaller} | {
        folder / format: smaller.convert(format) for format in ("webp", "mp4", "webm")
    }
    recipes[folder / "poster"] = smaller.first_frame().convert("webp")
    for _ in render_unsandboxed(source, probe(source), recipes):
        """Each version of it is made."""
