"""Fingerprints: near duplicates differ in few bits, and different images in many."""

import random
import re
from pathlib import Path

import PIL.Image
import PIL.ImageDraw

from gifster import imaging
from gifster.imaging import Fingerprint, Image
from gifster.imaging.probe import probe
from tests import images


def fingerprint(source: Path) -> Fingerprint:
    rendered = imaging.render(source, probe(source), {}, Image())
    return next(made for made in rendered if isinstance(made, Fingerprint))


def distance(one: Fingerprint, other: Fingerprint) -> int:
    return (int(one.dhash, 16) ^ int(other.dhash, 16)).bit_count()


def scene(seed: int) -> list[PIL.Image.Image]:
    """An animation of some discs that begins black."""
    chance = random.Random(seed)
    discs = [(chance.randrange(400), chance.randrange(300), chance.randrange(30, 120),
              chance.choice(["white", "orange", "navy", "teal"])) for _ in range(9)]  # fmt: skip
    frames = [PIL.Image.new("RGB", (400, 300))]
    for number in range(11):
        frame = PIL.Image.new("RGB", (400, 300), "grey")
        for x, y, radius, color in discs:
            at = x + 2 * number
            box = (at - radius, y - radius, at + radius, y + radius)
            PIL.ImageDraw.Draw(frame).ellipse(box, fill=color)
        frames.append(frame)
    return frames


def test_near_duplicates_in_another_size_and_format_differ_in_few_bits(tmp_path: Path):
    frames = scene(1)
    smaller = [frame.resize((200, 150), PIL.Image.Resampling.LANCZOS) for frame in frames]

    one = fingerprint(images.saved(frames, tmp_path / "one"))
    other = fingerprint(images.saved(smaller, tmp_path / "other", "WEBP"))

    assert distance(one, other) <= 3


def test_different_animations_differ_in_many_bits(tmp_path: Path):
    fingerprints = [
        fingerprint(images.saved(scene(seed), tmp_path / f"{seed}")) for seed in range(6)
    ]

    distances = [
        distance(one, other) for at, one in enumerate(fingerprints) for other in fingerprints[:at]
    ]
    assert min(distances) > 10


def test_the_hash_of_an_image_with_nothing_to_see_is_all_zeros(tmp_path: Path):
    PIL.Image.new("RGB", (300, 200), (10, 200, 30)).save(tmp_path / "flat", "PNG")

    seen = fingerprint(tmp_path / "flat")

    assert seen.dhash == "0" * 16
    assert re.fullmatch(r"#0[89a]c[78][12][ef]", seen.color)
