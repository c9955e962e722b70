"""The facts that `probe()` returns, and versions that move like their source."""

import contextlib
import re
from dataclasses import replace
from pathlib import Path

import PIL.Image
import pytest

from gifster.imaging import Image, ImageInfo, strip_metadata
from gifster.imaging.errors import TooManyFrames, Unreadable
from gifster.imaging.image_info import UNKNOWN_TYPE
from gifster.imaging.probe import probe, sniff
from gifster.imaging.recipe import Plan
from tests import images

DELAYS = [30, 50, 70, 110, 40, 990, 20, 10]


@pytest.fixture
def write(tmp_path: Path):
    def write(content: bytes) -> Path:
        path = tmp_path / "source"
        path.write_bytes(content)
        return path

    return write


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (images.gif((30, 20), [40, 60], loop=7), ImageInfo("image/gif", 30, 20, 2, 100, 8)),
        (images.gif((30, 20), [40, 60], loop=None), ImageInfo("image/gif", 30, 20, 2, 100, None)),
        (images.still("GIF", (31, 20)), ImageInfo("image/gif", 31, 20)),
        (images.still("PNG", (31, 20)), ImageInfo("image/png", 31, 20)),
        (images.still("JPEG", (31, 20)), ImageInfo("image/jpeg", 31, 20)),
        (images.still("WEBP", (31, 20)), ImageInfo("image/webp", 31, 20)),
        (images.animated("PNG", [40, 60], (31, 20)), ImageInfo("image/png", 31, 20, 2, 100, 2)),
        (images.animated("WEBP", [40, 60], (31, 20)), ImageInfo("image/webp", 31, 20, 2, 100, 2)),
    ],
    ids=["gif", "gif once", "gif still", "png", "jpeg", "webp", "apng", "animated webp"],
)
def test_probe_reads_the_facts_from_the_structure(write, content: bytes, expected: ImageInfo):
    assert probe(write(content)) == replace(expected, bytes=len(content))


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP"])
def test_durations_are_those_of_browsers(write, format: str):
    content = images.animated(format, [10, 20, 0, 40])

    assert probe(write(content)).duration_ms == 260


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP"])
def test_an_animation_with_too_many_frames_is_not_read_to_its_end(write, format: str):
    content = images.animated(format, [20] * 9)

    with pytest.raises(TooManyFrames, match="at most 3"):
        probe(write(content[: -len(content) // 3]), max_frames=3)


@pytest.mark.parametrize("tail", [b"", b"\0", b"\0\0", b"any trailing bytes"])
def test_a_gif_may_lack_its_trailer_or_have_bytes_after_it(write, tail: bytes):
    content = images.gif((30, 20), [40, 60])

    assert probe(write(content.removesuffix(b";") + tail)).frames == 2
    assert probe(write(content + tail)).frames == 2


def test_files_that_are_no_images_are_recognised_too():
    assert [sniff(head) for head in (b"", b"GIF", b"GIF90a", b"<svg")] == [UNKNOWN_TYPE] * 4
    assert sniff(b"%PDF-1.7") == "application/pdf"


def test_a_file_that_is_no_image_is_refused(write, tmp_path: Path):
    source = write(b"Hello")
    info = probe(source)
    assert not info.is_image

    with pytest.raises(Unreadable, match="not an image"):
        images.make(source, {tmp_path / "target": Image().fit(100, 100)}, info)
    with pytest.raises(
        ValueError, match=r"not taken out of application/octet-stream, only of.*gif"
    ):
        strip_metadata(source, tmp_path / "target", info.content_type)


@pytest.mark.parametrize("loop", [None, 0, 1, 3, 65535])
def test_a_thumbnail_keeps_frames_delays_and_loop(write, tmp_path: Path, loop: int | None):
    content = images.gif((200, 150), DELAYS, loop)
    source, target = write(content), tmp_path / "target"

    images.make(source, {target: Image().fit(100, 100)})

    # … as browsers display them: 10 ms become 100
    shown = [100 if delay == 10 else delay for delay in DELAYS]
    assert images.timing(target.read_bytes()) == (shown, loop)
    assert images.size(target.read_bytes()) == (100, 75)


def test_a_frame_without_delay_gets_100_ms_as_in_browsers(write, tmp_path: Path):
    content = images.gif((200, 150), [990, 50, 990])
    content = re.sub(rb"(\x21\xf9\x04.)\x63\x00", lambda found: found[1] + b"\0\0", content)
    source, target = write(content), tmp_path / "target"
    assert images.timing(content)[0] == [0, 50, 0]

    images.make(source, {target: Image().fit(100, 100)})

    assert images.timing(target.read_bytes())[0] == [100, 50, 100]


@pytest.mark.parametrize("format", ["PNG", "WEBP"])
def test_other_animations_keep_frames_and_delays(write, tmp_path: Path, format: str):
    durations = [30, 50, 990]
    source, target = write(images.animated(format, durations)), tmp_path / "target"

    images.make(source, {target: Image().fit(100, 100)})

    made = probe(target)
    assert (made.width, made.height, made.frames, made.duration_ms) == (100, 67, 3, 1070)
    assert made.loop == 2


def test_transparency_is_kept(write, tmp_path: Path):
    # Given a GIF of two frames: a disc on a transparent background
    frames = []
    for radius in (40, 80):
        frame = PIL.Image.new("RGBA", (300, 300))
        PIL.ImageDraw.Draw(frame).ellipse(
            (150 - radius, 150 - radius, 150 + radius, 150 + radius), fill=(200, 0, 0, 255)
        )
        frames.append(frame)
    source, target = tmp_path / "source", tmp_path / "target"
    frames[0].save(source, "GIF", save_all=True, append_images=frames[1:], duration=50, disposal=2)

    images.make(source, {target: Image().fit(100, 100)})

    with PIL.Image.open(target) as made:
        for index in range(2):
            made.seek(index)
            picture = made.convert("RGBA")
            assert picture.getpixel((2, 2))[3] == 0
            assert picture.getpixel((50, 50))[3] == 255
            assert picture.getpixel((50, 50))[0] > 180


def test_a_photograph_is_turned_upright_and_loses_its_metadata(write, tmp_path: Path):
    # Given a JPEG that must be turned by 90 degrees, and tells where it was taken
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "at home"
    source, target = tmp_path / "source", tmp_path / "target"
    images.frames((300, 200), 1)[0].save(source, "JPEG", exif=exif)

    images.make(source, {target: Image().fit(100, 100)})

    assert images.size(target.read_bytes()) == (67, 100)
    assert b"at home" not in target.read_bytes()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "CMYK"])
def test_stills_of_every_mode_can_be_resized(write, tmp_path: Path, mode: str):
    source, target = tmp_path / "source", tmp_path / "target"
    format = "JPEG" if mode == "CMYK" else "PNG"
    picture = images.frames((300, 200), 1)[0].convert("I" if mode == "I;16" else mode)
    (picture.convert("I;16") if mode == "I;16" else picture).save(source, format)

    images.make(source, {target: Image().fit(30, 30)})

    assert images.size(target.read_bytes()) == (30, 20)


def test_each_side_keeps_at_least_one_pixel():
    assert Image().fit(220, 220).plan(10_000, 10) == Plan(0, 0, 10_000, 10, 220, 1)
    assert Image().fit(220, 220).plan(100, 100) == Plan(0, 0, 100, 100, 100, 100)
    with pytest.raises(ValueError, match="0×5"):
        Image().fit(0, 5)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_damaged_pixels_are_unreadable_or_shown_in_part(write, tmp_path: Path, format: str):
    content = bytearray(images.still(format))
    content[len(content) // 3 : len(content) // 3 + 200] = bytes(200)
    source = write(bytes(content))
    info = ImageInfo(f"image/{format.lower()}", 300, 200)

    with contextlib.suppress(Unreadable):
        images.make(source, {tmp_path / "target": Image().fit(100, 100)}, info)
        assert images.size((tmp_path / "target").read_bytes()) == (100, 67)


def test_a_file_is_only_decoded_as_its_own_format(write, tmp_path: Path):
    # Given a playlist posing as a GIF, from which ffmpeg could make a film
    source = write(b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n")

    with pytest.raises(Unreadable):
        images.make(
            source, {tmp_path / "target": Image().fit(9, 9)}, ImageInfo("image/gif", 300, 200, 2)
        )
