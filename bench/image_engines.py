"""The engines that `bench.images` compares. Each writes a GIF of a source for every side."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import PIL.Image
import PIL.ImageSequence

from gifster import imaging
from gifster.imaging.image_info import ImageInfo
from gifster.imaging.probe import probe
from gifster.imaging.recipe import Image

#: The GIFs fit into a square of each of these sides (pixels).
SIDES = (200, 480)
#: Larger sources also get a WebP and an MP4 (bytes).
HEAVY_BYTES = 50_000

#: Gets the source, and the target for each side.
Engine = Callable[[Path, dict[int, Path]], None]


def ours(source: Path, targets: dict[int, Path]) -> None:
    recipes = {target: Image().fit(side, side) for side, target in targets.items()}
    list(imaging.render_unsandboxed(source, probe(source), recipes, Image()))


def all_five(source: Path, targets: dict[int, Path]) -> None:
    small, large = (Image().fit(side, side) for side in SIDES)
    preview, webp, mp4 = targets[SIDES[1]], _beside(targets, "webp"), _beside(targets, "mp4")
    recipes = {
        _beside(targets, "poster"): large.first_frame().convert("webp"),
        targets[SIDES[0]]: small,
        preview: large,
    }
    if source.stat().st_size > HEAVY_BYTES:
        recipes |= {webp: large.convert("webp"), mp4: large.convert("mp4")}
    for target in (*recipes, webp, mp4):
        target.unlink(missing_ok=True)
    list(
        imaging.render_unsandboxed(
            source, probe(source), recipes, Image(), {webp: preview, mp4: preview}
        )
    )


def all_versions(source: Path, targets: dict[int, Path]) -> None:
    """What the application makes of an upload, from one decoding."""
    info = probe(source)
    recipes, smaller_than = versions(info, targets[SIDES[1]].with_suffix(""))
    list(imaging.render_unsandboxed(source, info, recipes, Image(), smaller_than))


def versions(info: ImageInfo, stem: Path) -> tuple[dict[Path, Image], dict[Path, Path]]:
    """The recipes of the application's versions by target, and what they must be smaller than."""
    from gifster.app.models import Gif, ImageUploader  # noqa: PLC0415 it loads the application
    from gifster.uploads.versions.declaring import versions_of  # noqa: PLC0415

    uploader, made = object.__new__(ImageUploader), dict[str, Image]()
    uploader.record = Gif()  # which has no edit
    targets, smaller_than = dict[str, Path](), dict[Path, Path]()
    for name, version in versions_of(ImageUploader).items():
        if version.is_due(uploader, info) and (version.of is None or version.of in made):
            made[name] = version.record(uploader, made[version.of] if version.of else Image())
            targets[name] = stem.with_name(f"{stem.name}-{name}")
            if version.smaller_than is not None:
                smaller_than[targets[name]] = targets[version.smaller_than]
    return {targets[name]: recipe for name, recipe in made.items()}, smaller_than


def _beside(targets: dict[int, Path], name: str) -> Path:
    return targets[SIDES[1]].with_suffix(f".{name}")


def not_shrunk(source: Path, target: Path) -> None:
    """A version that has the pixels of its source."""
    list(imaging.render_unsandboxed(source, probe(source), {target: Image()}, Image()))


def gifsicle_not_shrunk(source: Path, target: Path) -> None:
    _run("gifsicle", "-O2", str(source), "-o", str(target))


def pillow(source: Path, targets: dict[int, Path]) -> None:
    for side, target in targets.items():
        with PIL.Image.open(source) as image:
            frames, delays = [], []
            for frame in PIL.ImageSequence.Iterator(image):
                made = frame.convert("RGBA")
                made.thumbnail((side, side), PIL.Image.Resampling.BICUBIC)
                frames.append(made)
                delays.append(frame.info.get("duration", 100))
        frames[0].save(target, "GIF", save_all=True, append_images=frames[1:], duration=delays,
                       loop=0, disposal=2)  # fmt: skip


def gifsicle(source: Path, targets: dict[int, Path]) -> None:
    for side, target in targets.items():
        _run("gifsicle", "-O2", "--resize-fit", f"{side}x{side}", str(source), "-o", str(target))


def imagemagick(source: Path, targets: dict[int, Path]) -> None:
    for side, target in targets.items():
        _run("convert", str(source), "-coalesce", "-resize", f"{side}x{side}>", "-layers",
             "optimize", str(target))  # fmt: skip


def libvips(source: Path, targets: dict[int, Path]) -> None:
    for side, target in targets.items():
        _run("vips", "thumbnail", f"{source}[n=-1]", str(target), str(side), "--height", str(side),
             "--size", "down")  # fmt: skip


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)


OURS, BASE = "ours", "gifsicle"
ALL_FIVE, ALL_VERSIONS = "ours, all five", "ours, all versions"
#: Each engine, and the program that it needs.
ENGINES: dict[str, tuple[Engine, str | None]] = {
    OURS: (ours, None),
    ALL_FIVE: (all_five, None),
    ALL_VERSIONS: (all_versions, None),
    "Pillow": (pillow, None),
    BASE: (gifsicle, "gifsicle"),
    "ImageMagick": (imagemagick, "convert"),
    "libvips": (libvips, "vips"),
}
#: The engines that take minutes, and are left out in short rounds.
SLOW = {"ImageMagick", "libvips"}


def available() -> dict[str, Engine]:
    """The engines whose programs are installed."""
    return {
        name: engine
        for name, (engine, program) in ENGINES.items()
        if not program or shutil.which(program)
    }
