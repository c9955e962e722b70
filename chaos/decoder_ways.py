"""What is made of the images of `chaos.decoders`: the application's versions, every other recipe,
and an uploader with steps that make files and a derivation."""

from collections.abc import Callable
from pathlib import Path

from gifster.imaging import Image
from gifster.imaging.image_info import ImageInfo
from gifster.uploads import Uploader, derivation, mount_uploader, process, version
from gifster.uploads.versions.derivations import derivations_of
from gifster.uploads.versions.processing import original_of, processed
from tests import images
from tests.uploads.framework import Base

#: How an upload is processed: by its path and its facts.
Way = Callable[[Path, ImageInfo], object]

VERSIONS = [
    ("poster", Image().first_frame().fit(480, 480).convert("webp")),
    ("thumb", Image().fit(220, 220)),
    ("preview", Image().fit(480, 480)),
    ("webp", Image().fit(480, 480).convert("webp")),
    ("mp4", Image().fit(480, 480).convert("mp4")),
]
#: What the recipes do beside that: each step, gravity and colour, and steps after steps.
BOXES = [
    ("cropped", Image().crop(100, 50, 70, 40)),
    ("padded", Image().pad(300, 200, "#ff8800", "southwest").quality(40).convert("webp")),
    ("clear", Image().pad(200, 300, gravity="north").convert("png")),
    ("large", Image().fill(700, 500, "northeast", enlarge=True).quality(30).convert("jpeg")),
    ("all", Image().fit(90, None, enlarge=True).crop(40, 30, 10, 10).pad(64, 64, enlarge=True)),
    ("film", Image().pad(320, 240, "white", "east").quality(20).convert("mp4")),
]


class StepsUploader(Uploader):
    """Steps that make a file, whose results are read again, and what is made of these."""

    @process(file=True)
    def same(self, file: Path) -> Path:
        return file

    @process
    def shrink(self, image: Image) -> Image:
        return image.fit(300, 300).quality(60)

    @version
    def thumb(self, image: Image) -> Image:
        return image.fill(80, 80, "south", enlarge=True)

    @version(file=True)
    def reversed(self, file: Path) -> bytes:
        return file.read_bytes()[::-1]

    @version(file=True)
    def page(self, file: Path) -> Path:
        return file.rename(file.with_name("page"))

    @version(of="page")
    def small(self, image: Image) -> Image:
        return image.pad(30, 30, "black")

    @derivation
    def box(self, image: Image, width: int, height: int) -> Image:
        return image.crop(width, height).pad(width * 2, height)


class Picture(Base):
    file = mount_uploader(StepsUploader)


def make_recipes(recipes: list[tuple[str, Image]]) -> Way:
    """A way that makes these versions in one process."""
    return lambda source, info: images.make(
        source, {source.with_suffix(f".{name}"): recipe for name, recipe in recipes}, info
    )


def take_steps(source: Path, info: ImageInfo) -> None:
    """Make what an uploader with steps of its own makes, and a derivation of the result."""
    uploader = Picture().file
    with processed(uploader, original_of(uploader, source, info, "")) as making:
        original = making.all()[-1]
        recipe = derivations_of(StepsUploader)["box"].recipe(uploader, Image(), 40, 30)
        images.make(original.path, {source.with_suffix(".box"): recipe}, original.info)


WAYS: dict[str, Way] = {
    "versions": make_recipes(VERSIONS),
    "boxes": make_recipes(BOXES),
    "steps": take_steps,
}
