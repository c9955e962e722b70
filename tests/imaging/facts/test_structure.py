"""Reading the structure of files: it ends for hostile ones, and gets the facts of good ones."""

import io
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import PIL.Image
import pytest

from chaos import bodies, damage
from gifster.imaging import probe as probing
from gifster.imaging.errors import ImagingError, TooComplex, Truncated, Unreadable
from gifster.imaging.gif_blocks import GifBlocks
from gifster.imaging.image_info import ImageInfo
from gifster.imaging.probe import GLANCED_AT_ONCE, examine, glance, probe, probe_unsandboxed
from gifster.imaging.reader import WINDOW_BYTES, OutOfSteps, Reader
from gifster.imaging.sandbox import Limits
from tests import images
from tests.imaging.sandboxed import hang, spin
from tests.machine import ALL_EXAMPLES, eventually

MB = 1_000_000
ACCEPTED, MANY_PARTS = "", "too_complex"
#: The code of the error that each file causes; empty if it is accepted.
CODES = {
    "GIF, zeros": "unreadable",
    "GIF, a frame and zeros": ACCEPTED,
    "GIF, empty comments": MANY_PARTS,
    "GIF, comments of one byte": MANY_PARTS,
    "GIF, an extension without an end": MANY_PARTS,
    "GIF, a frame of sub-blocks of one byte": MANY_PARTS,
    "GIF, frames without data": "unreadable",
    "GIF, control extensions": MANY_PARTS,
    "GIF, loop counts": MANY_PARTS,
    "PNG, empty chunks": MANY_PARTS,
    "PNG, empty data": MANY_PARTS,
    "PNG, animation controls": MANY_PARTS,
    "PNG, EXIF again and again": ACCEPTED,
    "JPEG, empty segments": MANY_PARTS,
    "JPEG, fill bytes": ACCEPTED,
    "JPEG, restart markers": MANY_PARTS,
    "JPEG, garbage between markers": MANY_PARTS,
    "JPEG, empty Photoshop resources": ACCEPTED,
    "JPEG, EXIF again and again": ACCEPTED,
    "JPEG, no end of image": "truncated",
    "WebP, empty chunks": MANY_PARTS,
    "WebP, frames without data": "unreadable",
    "WebP, animation controls": MANY_PARTS,
    "WebP, EXIF again and again": "unreadable",
    "AVIF, empty boxes": "unreadable",
    "AVIF, boxes in boxes": "unreadable",
    "AVIF, boxes of no size": "truncated",
    "AVIF, boxes of 64 bits": "unreadable",
    "AVIF, sizes": "unreadable",
    "AVIF, times": MANY_PARTS,
    "MP4, empty boxes": "unreadable",
}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return tmp_path / "source"


@pytest.mark.parametrize("name", bodies.BODIES)
def test_reading_ends_with_the_steps(name: str, source: Path, monkeypatch: pytest.MonkeyPatch):
    # Given a file of more parts than there are steps, of which there are few here
    source.write_bytes(bodies.of(name, 4 * MB))
    monkeypatch.setattr(probing, "QUICK_STEPS", 2_000)
    monkeypatch.setattr(probing, "MAX_STEPS", 300_000)
    # … and no Pillow, which does not count steps
    monkeypatch.setattr(PIL.Image, "open", None)

    try:
        code = ACCEPTED if probe_unsandboxed(source, 5_000).bytes == source.stat().st_size else "?"
    except ImagingError as error:
        code = error.code

    assert code == CODES[name]
    if code == MANY_PARTS:
        assert glance(source, 5_000) is None


#: Files of too many parts. As large ones each is tried in CI, and every day one of four.
COMPLEX = [name for name, code in CODES.items() if code == MANY_PARTS]


@pytest.mark.parametrize("name", COMPLEX[:: 1 if ALL_EXAMPLES else 4])
def test_12_mb_of_structure_are_too_complex(name: str, source: Path):
    # Given the real number of steps: a web process reads no longer than hashing would take
    source.write_bytes(bodies.of(name, 12 * MB))

    assert glance(source, 5_000) is None
    with pytest.raises(TooComplex):
        probe_unsandboxed(source, 5_000)


def test_an_ordinary_gif_of_50_mb_is_read_without_a_sandbox(source: Path):
    # Given sub-blocks as encoders write them: 200,000 of 255 bytes
    source.write_bytes(bodies.good_gif(50 * MB))

    info = glance(source, 5_000)

    assert info is not None
    assert info.frames > 40


def test_a_file_in_memory_is_read_as_one_on_the_disk(source: Path):
    for content in (bodies.good_gif(MB), *(bodies.of(name, MB) for name in bodies.BODIES)):
        source.write_bytes(content)

        assert _glanced(content) == _glanced(source)


def _glanced(content: Path | bytes) -> object:
    try:
        return glance(content, 5_000)
    except ImagingError as error:
        return error.code


def test_a_gif_of_many_tiny_sub_blocks_is_read_in_a_sandbox(source: Path):
    # Given a GIF whose sub-blocks have one byte each. Browsers show it
    whole = images.noisy_gif((700, 500), 1)
    [frame] = GifBlocks(Reader(io.BytesIO(whole)))
    start, end = frame.data
    data, at = bytearray(), start
    while size := whole[at]:
        data += b"".join(bytes([1, byte]) for byte in whole[at + 1 : at + 1 + size])
        at += 1 + size
    source.write_bytes(whole[:start] + data + b"\0" + whole[end:])
    assert glance(source) is None

    assert (probe(source).width, probe(source).frames) == (700, 1)


@pytest.mark.parametrize("work", [spin, hang])
def test_a_file_that_takes_too_long_to_read_is_too_complex(
    work: object, source: Path, monkeypatch: pytest.MonkeyPatch
):
    source.write_bytes(images.gif())
    monkeypatch.setattr(probing, "probe_unsandboxed", work)
    monkeypatch.setattr(probing, "EXAMINING", Limits(cpu_s=1, wall_s=2))

    with pytest.raises(TooComplex):
        examine(source)


#: How many of four frames Chromium 156 shows with these bytes between the second and the third.
BETWEEN = [
    (b"\0", 2),
    (b"\0" * 300, 2),
    (b"\xff", 2),
    (b";", 2),
    (b"\x21\xfe\0", 4),
    (b"\x21\xfe\0" * 300, 4),
    (b"\x21\xfe" + b"\1a" * 1000 + b"\0", 4),
    (b"\x21\x77\3abc\0", 4),
]


@pytest.mark.parametrize(("between", "frames"), BETWEEN)
def test_a_gif_ends_where_it_ends_in_browsers(source: Path, between: bytes, frames: int):
    content = images.gif((60, 40), [50] * 4)
    ends = [frame.data[1] for frame in GifBlocks(Reader(io.BytesIO(content)))]
    source.write_bytes(content[: ends[1]] + between + content[ends[1] :])

    assert probe(source).frames == frames


def test_a_cut_off_jpeg_is_truncated_even_if_its_thumbnail_is_whole(source: Path):
    content = images.still("JPEG")
    segment = b"Exif\0\0" + images.still("JPEG", (32, 32))
    content = (
        content[:2] + b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment + content[2:]
    )
    source.write_bytes(content)
    assert probe(source).width == 300
    source.write_bytes(content[:-2])

    with pytest.raises(Truncated):
        probe(source)


@pytest.mark.parametrize("counted", [0, 1])
def test_the_last_padding_byte_of_a_webp_may_be_missing(source: Path, counted: int):
    # Given a last chunk of odd size without its padding byte, which the length counts or not
    content = images.animated("WEBP", [40, 60]) + b"XMP \3\0\0\0xml"
    size = len(content) - 8 + counted
    source.write_bytes(content[:4] + size.to_bytes(4, "little") + content[8:])

    assert probe(source).frames == 2


@pytest.mark.parametrize("format", ["JPEG", "PNG"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(10))
def test_the_size_is_that_of_the_upright_picture_for_all_orientations(
    source: Path, format: str, order: str, orientation: int
):
    exif = PIL.Image.Exif()
    exif.endian = order
    exif[0x010F], exif[0x0112] = "a camera", orientation
    PIL.Image.new("RGB", (33, 44)).save(source, format, exif=exif.tobytes())

    is_sideways = orientation in (5, 6, 7, 8)

    assert (probe(source).width, probe(source).height) == ((44, 33) if is_sideways else (33, 44))


def test_a_reader_reads_across_its_windows():
    content = bytes(range(256)) * (WINDOW_BYTES // 100)
    reader = Reader(io.BytesIO(content))
    places = [0, 1, WINDOW_BYTES - 1, WINDOW_BYTES, 2 * WINDOW_BYTES - 3, len(content) - 8]

    for at in [*places, *reversed(places)]:
        reader.seek(at)
        assert reader.read(8) == content[at : at + 8]
        assert reader.tell() == at + 8
    reader.seek(len(content))
    with pytest.raises(Truncated):
        reader.read(1)
    with pytest.raises(Truncated):
        reader.seek(len(content) + 1)


@pytest.mark.parametrize("at", [5, WINDOW_BYTES - 1, WINDOW_BYTES, 3 * WINDOW_BYTES - 1])
def test_a_reader_finds_bytes_across_two_windows(at: int):
    reader = Reader(io.BytesIO(bytes(at) + b"\xff\xd9" + bytes(9)))

    assert reader.find(b"\xff\xd9")
    assert reader.tell() == at
    reader.skip(1)
    assert not reader.find(b"\xff\xd9")


def test_a_reader_skips_sub_blocks():
    blocks = b"".join(bytes([size]) + bytes(size) for size in [255, 1, 90] * 1_000)
    reader = Reader(io.BytesIO(blocks + b"\0;"), max_steps=3_100)

    reader.skip_sub_blocks()

    assert reader.read(1) == b";"
    reader = Reader(io.BytesIO(blocks + b"\0;"), max_steps=2_000)
    with pytest.raises(OutOfSteps):
        reader.skip_sub_blocks()


def test_sub_blocks_are_skipped_as_if_one_by_one():
    chance = random.Random(3)
    for _ in range(200):
        blocks = b"".join(
            bytes([size]) + chance.randbytes(size)
            for size in chance.choices([255, 255, 255, 7, 254], k=chance.choice([1, 40, 600]))
        )
        end = len(blocks) + 1

        reader = Reader(io.BytesIO(blocks + b"\0" + b"\xff" * 300), max_steps=1_000)
        reader.skip_sub_blocks()
        assert reader.tell() == end

        with pytest.raises(Truncated):
            Reader(io.BytesIO(blocks)).skip_sub_blocks()


def test_each_full_sub_block_costs_a_step():
    content = (b"\xff" + bytes(255)) * 1_000 + b"\0"

    Reader(io.BytesIO(content), max_steps=1_010).skip_sub_blocks()

    with pytest.raises(OutOfSteps):
        Reader(io.BytesIO(content), max_steps=990).skip_sub_blocks()


@pytest.mark.parametrize("name", ["12 bits", "255 bits", "none", "GIF without pixels"])
def test_a_gif_whose_first_frame_has_no_codes_is_refused(tmp_path: Path, name: str):
    source = tmp_path / "source"
    make = next(make for known, make in damage.BOMBS.items() if known.endswith(name))
    source.write_bytes(make())

    with pytest.raises(Unreadable):
        probe(source)


def test_few_threads_read_large_files_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    # Given more threads than may read at a time
    source = tmp_path / "source"
    source.write_bytes(images.gif())
    read, go, inside = probing._probe, threading.Event(), list[int]()

    def read_late(content: Path | bytes, max_frames: int | None, steps: int) -> ImageInfo:
        if isinstance(content, Path):
            inside.append(threading.get_ident())
            go.wait(120)
        return read(content, max_frames, steps)

    monkeypatch.setattr(probing, "_probe", read_late)
    with ThreadPoolExecutor(5) as threads:
        try:
            files = [threads.submit(glance, source) for _ in range(5)]
            eventually(lambda: len(inside) >= GLANCED_AT_ONCE)

            # I expect that one which is in memory needs no turn
            assert glance(source.read_bytes()) is not None
            assert len(inside) == GLANCED_AT_ONCE
        finally:
            go.set()
    assert all(file.result() for file in files)
