"""Animated PNG versions, as ffmpeg shows them."""

import random
from pathlib import Path

import PIL.Image
import pytest
from PIL import ImageChops, ImageStat

from gifster.imaging import Image
from gifster.imaging.probe import probe
from tests import images
from tests.imaging.viewer import HALF, SIZE, decoded, drawn, side_by_side


@pytest.mark.parametrize("holes", [True, False], ids=["holes", "solid"])
def test_an_animated_png_shows_what_its_source_shows(tmp_path: Path, holes: bool):
    made = drawn(3, holes=holes, disposals="0123" if holes else "013")
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(made.content)

    images.make(source, {target: Image().fit(*HALF).convert("png")})

    for picture, wanted in side_by_side(decoded(target, HALF, "apng"), made.shown):
        small = wanted.resize(HALF, PIL.Image.Resampling.BICUBIC)
        assert max(ImageStat.Stat(ImageChops.difference(picture, small)).mean) < 2


def test_an_animated_png_contains_only_what_changes(tmp_path: Path):
    source, target, still = (tmp_path / name for name in ("source", "target", "still"))
    noise = random.Random(1).randbytes(3 * SIZE[0] * SIZE[1])
    frames = [PIL.Image.frombytes("RGB", SIZE, noise) for _ in range(20)]
    for number, frame in enumerate(frames):
        frame.paste((255, 0, 0), (8 * number, 30, 8 * number + 10, 40))
    frames[0].save(source, "PNG", save_all=True, append_images=frames[1:], duration=50)

    images.make(source, {target: Image().fit(*HALF), still: Image().fit(*HALF).first_frame()})

    assert probe(target).frames == 20
    assert target.stat().st_size < 2 * still.stat().st_size
