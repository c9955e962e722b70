"""Parts of animations and videos: which frames they show, how few are decoded, and what their
fingerprint is of."""

import io
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import PIL.Image
import PIL.ImageSequence
import pytest

from gifster import imaging
from gifster.imaging import Fingerprint, Image, fingerprinting, video_frames
from gifster.imaging.boxes import is_empty
from gifster.imaging.delays import displayed_ms
from gifster.imaging.frame import Frame
from gifster.imaging.frames import frames
from gifster.imaging.probe import probe
from gifster.imaging.timing import Timing
from tests import images
from tests.imaging.recordings import H264, ffmpeg

RATE, FRAMES = 20, 160


def ramp(format: str, codec: str, gop: int = 25, first: int = 0) -> bytes:
    """A video whose frames all differ, with a key frame every so many.

    Parameters:
      first: when the first frame is displayed (frames).
    """
    content = io.BytesIO()
    with av.open(content, "w", format=format) as file:
        stream: Any = file.add_stream(codec, rate=RATE)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = 96, 64, "yuv420p", gop
        for number in range(FRAMES):
            picture = PIL.Image.new("RGB", (96, 64), (number, 255 - number, number * 5 % 256))
            frame = av.VideoFrame.from_image(picture)  # type: ignore[no-untyped-call]
            frame.pts, frame.time_base = number + first, Fraction(1, RATE)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return content.getvalue()


VIDEOS = {
    "mp4": ("mp4", "libx264", 25, 0),
    "mov that begins late": ("mov", "libx264", 25, 30),
    "webm": ("webm", "libvpx-vp9", 25, 0),
    "one key frame": ("mp4", "libx264", 999, 0),
}


@pytest.fixture(scope="module", params=list(VIDEOS))
def film(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "film"
    path.write_bytes(ramp(*VIDEOS[request.param]))
    return path


def shown(path: Path, timing: Timing) -> list[tuple[bytes, int]]:
    info = probe(path, videos=True)
    return [(frame.picture.tobytes(), frame.delay_ms) for frame in frames(path, info, timing)]


@pytest.mark.parametrize(
    "timing",
    [
        Timing(4000, 6000),
        Timing(1234, None, 10),
        Timing(7990, None),
        Timing(6000, 6050),
        Timing(1250, 1251),
    ],
    ids=str,
)
def test_a_part_that_is_sought_has_the_frames_of_one_that_is_read_from_the_beginning(
    film: Path, timing: Timing, monkeypatch: pytest.MonkeyPatch
):
    sought = shown(film, timing)

    monkeypatch.setattr(video_frames, "_WORTH_SEEKING_MS", 10**9)
    assert sought == shown(film, timing)
    end_ms = min(timing.end_ms or 10**9, probe(film, videos=True).duration_ms)
    lasts_ms = sum(delay_ms for _, delay_ms in sought)
    assert abs(lasts_ms - (end_ms - timing.start_ms)) <= (100 if timing.most_fps else 0)


def test_a_part_is_decoded_from_the_key_frame_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    source = tmp_path / "film"
    source.write_bytes(ramp("mp4", "libx264"))
    decoded: list[Any] = []
    real = video_frames._timed

    def timed(shown: Iterator[Any], *arguments: Any) -> Iterator[Any]:
        def counted() -> Iterator[Any]:
            for frame in shown:
                decoded.append(frame.pts)
                yield frame

        return real(counted(), *arguments)

    monkeypatch.setattr(video_frames, "_timed", timed)

    assert len(shown(source, Timing(5500, 6000))) == 10
    # Those of half a second, a key frame's distance at most, and the one after the part.
    assert 10 <= len(decoded) <= 10 + 25 + 1


def test_calls_add_up():
    assert Image().trim(2, 8).trim(1, 3) == Image().trim(3, 5)
    assert Image().trim(2, 4).trim(1) == Image().trim(3, 4)
    assert Image().trim(2, 4).trim(0, 9) == Image().trim(2, 4)
    assert Image().fps(5).fps(10) == Image().fps(10).fps(5) == Image().fps(5)
    cropped = Image().crop(50, 40, 10, 20).crop(10, 10, 5, 5)
    assert cropped.plan(100, 100) == Image().crop(10, 10, 15, 25).plan(100, 100)


def test_an_animation_that_is_shorter_than_it_says_shows_its_last_frame():
    given = [Frame(PIL.Image.new("RGB", (1, 1)), (0, 0, 1, 1), 50)] * 2

    assert [f.delay_ms for f in Timing(200, 400).apply(iter(given))] == [50]


@pytest.mark.parametrize("end_ms", [1004, 1008])
def test_the_last_frame_of_a_part_is_decoded_at_fewer_frames_a_second(tmp_path: Path, end_ms: int):
    # Given a video that shows its 20th frame until 1000 ms, and 19 frames of it a second
    source = tmp_path / "source"
    source.write_bytes(ramp("mp4", "libx264"))
    info = probe(source, videos=True)

    found = list(frames(source, info, Timing(0, end_ms, 19)))

    # I expect that each has a picture of its own, also the last one, which takes the rest
    assert not [number for number, frame in enumerate(found) if is_empty(frame.changed)]
    assert len(found) == 20


@pytest.mark.parametrize("format", ["gif", "webp", "png"])
def test_no_scrap_of_a_frame_is_left(tmp_path: Path, format: str):
    # Given an animation, and a part that begins and ends 5 ms before and behind a frame
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(images.gif((60, 40), [70, 100, 110, 100]))
    part = Image().trim(0.065, 0.285).convert(format)

    images.make(source, {target: part})

    # I expect the frame between to take the rest, as browsers show one of 5 ms for 100 ms
    assert sum(displayed_ms(delay) for delay in delays(target)) == pytest.approx(220, abs=5)
    assert len(delays(target)) == 2


def test_a_part_that_begins_just_before_the_end_has_the_last_frame(tmp_path: Path):
    source, target = tmp_path / "source", tmp_path / "target.png"
    source.write_bytes(ramp("mp4", "libx264"))

    info = probe(source, videos=True)
    list(imaging.render_unsandboxed(source, info, {target: Image().trim(7.995)}))

    with PIL.Image.open(target) as picture:
        red = picture.convert("RGB").getpixel((0, 0))
    assert isinstance(red, tuple)
    assert red[0] == pytest.approx(FRAMES - 1, abs=4)


def test_no_frame_of_a_quick_video_is_too_short(tmp_path: Path):
    source, target = tmp_path / "source.mp4", tmp_path / "target"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=96x64:r=120:d=0.5", *H264, source)
    info = probe(source, videos=True)

    recipes = {target: Image().fps(120).convert("webp")}
    list(imaging.render_unsandboxed(source, info, recipes))

    assert sum(displayed_ms(delay) for delay in delays(target)) == pytest.approx(500, abs=12)


def delays(path: Path) -> list[int]:
    with PIL.Image.open(path) as picture:
        found = []
        for frame in PIL.ImageSequence.Iterator(picture):
            frame.load()
            found.append(round(frame.info["duration"]))
    return found


def prints(source: Path, folder: Path, shown: Image, original: Image | None) -> Fingerprint:
    recipes = {folder / "thumb": shown.fit(50, 50)}
    rendering = imaging.render(source, probe(source, videos=True), recipes, original, None, shown)
    (found,) = [made for made in rendering if isinstance(made, Fingerprint)]
    return found


@pytest.mark.parametrize("kind", ["gif", "still", "video"])
def test_the_hash_is_of_the_original_and_the_placeholder_of_what_is_shown(
    tmp_path: Path, kind: str
):
    source = tmp_path / "source"
    if kind == "video":
        source.write_bytes(ramp("mp4", "libx264"))
    else:
        content = images.gif((200, 100), [100] * 12) if kind == "gif" else images.still("PNG")
        source.write_bytes(content)
    part = Image().crop(40, 60, 100, 10)
    part = part if kind == "still" else part.trim(0.5, 0.9)

    whole = prints(source, tmp_path, Image(), Image())
    edited = prints(source, tmp_path, part, Image())
    other = prints(source, tmp_path, part, None)

    assert edited.dhash == whole.dhash
    assert (edited.thumbhash, edited.color) == (other.thumbhash, other.color)
    assert edited.thumbhash != whole.thumbhash


def test_a_long_video_is_hashed_by_the_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    source = tmp_path / "source"
    source.write_bytes(ramp("mp4", "libx264"))
    monkeypatch.setattr(fingerprinting, "_MAX_VIDEO_MS", 1_000)
    part = Image().trim(5, 6)
    info = probe(source, videos=True)
    read: list[Timing] = []
    real = fingerprinting.frames
    monkeypatch.setattr(
        fingerprinting, "frames", lambda *given: read.append(given[2]) or real(*given)
    )

    recipes = {tmp_path / "thumb": part.fit(50, 50)}
    list(imaging.render_unsandboxed(source, info, recipes, Image(), None, part))

    assert read == []
