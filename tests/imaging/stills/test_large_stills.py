"""Large stills: what a sandbox allows is enough for every recipe, and no more than that."""

from pathlib import Path

import PIL.Image
import pytest

from gifster.imaging import Image, ImageInfo, jpeg_segments, memory
from gifster.imaging.probe import probe
from gifster.imaging.reader import Reader
from gifster.imaging.sandbox import LIMITS
from tests import images
from tests.combinations import only_in_ci

MB = 1_000_000


@pytest.fixture(scope="module")
def photograph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A JPEG of 39 million pixels, turned by its EXIF."""
    path = tmp_path_factory.mktemp("large") / "source"
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    PIL.Image.linear_gradient("L").resize((7216, 5408)).convert("RGB").save(
        path, "JPEG", quality=50, exif=exif
    )
    return path


@only_in_ci("39 million pixels cost 2 s; pictures of 12 million are made daily")
def test_a_large_jpeg_may_keep_its_size_or_most_of_it(photograph: Path, tmp_path: Path):
    whole, part, small = tmp_path / "whole", tmp_path / "part", tmp_path / "small"
    recipes = {
        whole: Image().quality(50),
        part: Image().crop(5000, 7000, 100, 100),
        small: Image().fit(480, 480),
    }

    assert images.make(photograph, recipes) == [whole, part, small]

    assert images.size(whole.read_bytes()) == (5408, 7216)
    assert images.size(part.read_bytes()) == (5000, 7000)


def test_six_recipes_take_no_more_memory_than_the_largest(photograph: Path):
    info = probe(photograph)
    six = [Image().fit(side, side) for side in (7000, 3000, 2000, 1000, 500, 100)]

    assert memory.limits(photograph, info, six) == memory.limits(photograph, info, six[:1])
    # The picture, and the largest output
    assert memory.limits(photograph, info, six).memory_bytes < 39 * MB * (4 + 4) + 100 * MB


@pytest.mark.parametrize(
    ("content_type", "size", "frames"),
    [
        ("image/jpeg", (7216, 5408), 1),
        ("image/png", (7216, 5408), 1),
        ("image/webp", (3000, 2700), 1),
        ("image/gif", (3000, 2700), 9),
    ],
)
def test_small_versions_need_no_more_than_usual(
    photograph: Path, content_type: str, size: tuple[int, int], frames: int
):
    info = ImageInfo(content_type, *size, frames)

    assert memory.limits(photograph, info, [Image().fit(480, 480), Image().fill(96, 96)]) == LIMITS


@pytest.mark.parametrize(
    ("options", "bytes_a_pixel"),
    [
        ({"subsampling": "4:4:4"}, 0),
        ({"subsampling": "4:4:4", "progressive": True}, 6),
        ({"subsampling": "4:2:0", "progressive": True}, 3),
    ],
)
def test_a_progressive_jpeg_keeps_all_coefficients(tmp_path: Path, options, bytes_a_pixel: int):
    source = tmp_path / "source"
    images.frames((160, 80), 1)[0].save(source, "JPEG", **options)

    with source.open("rb") as file:
        facts = jpeg_segments.read(Reader(file))

    assert facts.coefficient_bytes == 160 * 80 * bytes_a_pixel


@pytest.mark.parametrize("format", ["WEBP", "AVIF"])
def test_a_photograph_of_12_million_pixels_in_any_format(tmp_path: Path, format: str):
    source, thumb, large = tmp_path / "source", tmp_path / "thumb", tmp_path / "large"
    options = {"method": 0} if format == "WEBP" else {"speed": 10}
    PIL.Image.linear_gradient("L").resize((4032, 3024)).convert("RGB").save(
        source, format, quality=40, **options
    )

    made = images.make(
        source, {thumb: Image().fit(480, 480), large: Image().convert("jpeg").quality(50)}
    )

    assert made == [thumb, large]
    assert (probe(large).width, probe(large).height) == (4032, 3024)
