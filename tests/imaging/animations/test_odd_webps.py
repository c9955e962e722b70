"""WebPs of odd structure, which Chromium 156 shows."""

import io
import struct
from pathlib import Path

import PIL.Image
import pytest

from gifster.imaging import Image
from gifster.imaging.errors import Truncated
from gifster.imaging.probe import probe
from tests import images
from tests.imaging.carriers import riff_chunk

COLOR = (200, 100, 20)


def picture(color: tuple[int, int, int] = COLOR) -> bytes:
    """The chunk of a still of one colour."""
    buffer = io.BytesIO()
    PIL.Image.new("RGB", (6, 4), color).save(buffer, "WEBP", lossless=True)
    return buffer.getvalue()[12:]


def riff(*chunks: bytes) -> bytes:
    body = b"WEBP" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize(
    "behind",
    [
        picture((0, 0, 0)),
        riff_chunk(b"VP8X", bytes(10)),
        riff_chunk(b"ANIM", bytes(6)) + riff_chunk(b"ANMF", bytes(3)),
    ],
    ids=["another", "a header", "an animation"],
)
def test_a_file_that_begins_with_a_picture_is_that_picture(tmp_path: Path, behind: bytes):
    source, target = tmp_path / "source", tmp_path / "target.png"
    source.write_bytes(riff(picture(), behind))

    info = probe(source)
    images.make(source, {target: Image().convert("png")})

    assert (info.width, info.height, info.frames) == (6, 4, 1)
    with PIL.Image.open(target) as made:
        assert made.convert("RGB").getpixel((3, 2)) == COLOR


@pytest.mark.parametrize("cut", [1, 20, 40])
def test_a_file_that_begins_with_a_picture_has_to_be_whole(tmp_path: Path, cut: int):
    source = tmp_path / "source"
    source.write_bytes(riff(picture(), riff_chunk(b"JUNK", bytes(30)))[:-cut])

    with pytest.raises(Truncated):
        probe(source)


def test_the_first_number_of_plays_counts(tmp_path: Path):
    source = tmp_path / "source"
    content = images.animated("webp", [50, 60, 70], (30, 20))
    at = content.index(b"ANIM")
    plays = [riff_chunk(b"ANIM", bytes(4) + bytes([number, 0])) for number in (2, 5)]
    rest = content[at + len(plays[0]) :]
    source.write_bytes(riff(content[12:at], plays[0], plays[1], rest))

    assert probe(source).loop == 2


def test_a_frame_without_a_picture_is_none(tmp_path: Path):
    source, target = tmp_path / "source", tmp_path / "target"
    content = images.animated("webp", [50, 60, 70], (30, 20))
    at = content.index(b"ANMF")
    end = at + 8 + int.from_bytes(content[at + 4 : at + 8], "little")
    empty = riff_chunk(b"ANMF", content[at + 8 : at + 24])
    source.write_bytes(riff(content[12:end], empty, content[end:]))

    info = probe(source)
    images.make(source, {target: Image()})

    assert (info.frames, info.duration_ms) == (3, 180)
    assert (probe(target).frames, probe(target).duration_ms) == (3, 180)
