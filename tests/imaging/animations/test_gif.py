"""GIF versions: ffmpeg must show in them what the source shows by the specification, at every
moment."""

import io
from dataclasses import replace
from pathlib import Path

import PIL.Image
import PIL.ImageDraw
import pytest
from PIL import ImageChops

from gifster.imaging import Image, animation, patches, render_unsandboxed
from gifster.imaging.errors import Unreadable
from gifster.imaging.gif_blocks import GifBlocks
from gifster.imaging.probe import probe
from gifster.imaging.reader import Reader
from tests import images
from tests.imaging.viewer import (
    COLORS,
    HALF,
    SIZE,
    assert_looks_like,
    decoded,
    drawn,
    side_by_side,
    words,
)
from tests.machine import examples


@pytest.mark.parametrize("holes", [True, False], ids=["holes", "solid"])
@pytest.mark.parametrize("seed", range(examples(4, of=12)))
def test_a_version_shows_what_its_source_shows_at_every_moment(
    tmp_path: Path, seed: int, holes: bool
):
    made = drawn(seed, holes=holes, disposals="0123" if holes else "013")
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(made.content)

    images.make(source, {target: Image().fit(*HALF)})

    for picture, wanted in side_by_side(decoded(target, HALF), made.shown):
        assert_looks_like(picture, wanted)


def test_all_versions_come_from_one_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    source = tmp_path / "source"
    source.write_bytes(drawn(3).content)
    decodings = []
    frames = animation.frames
    monkeypatch.setattr(animation, "frames", lambda *args: decodings.append(1) or frames(*args))
    boxes = [(150, 150), (100, 100), (90, 90), (20, 20)]

    recipes = {tmp_path / f"{w}": Image().fit(w, h) for w, h in boxes}
    recipes[tmp_path / "webp"] = Image().fit(100, 100).convert("webp")
    list(render_unsandboxed(source, probe(source), recipes, Image()))

    assert len(decodings) == 1
    for width, _ in boxes:
        made = probe(tmp_path / f"{width}")
        assert (made.width, made.duration_ms) == (width, probe(source).duration_ms)


def test_a_long_animation_is_not_kept_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    # Given an animation with more bytes than are kept in memory
    monkeypatch.setattr(patches, "_MEMORY_BYTES", 50_000)
    made = drawn(5)
    source, target, other = (tmp_path / name for name in ("source", "target", "other"))
    source.write_bytes(made.content)

    list(render_unsandboxed(source, probe(source), {target: Image().fit(*HALF)}, Image()))

    # I expect the same version
    monkeypatch.undo()
    list(render_unsandboxed(source, probe(source), {other: Image().fit(*HALF)}, Image()))
    assert target.read_bytes() == other.read_bytes()


def test_a_gif_over_its_budget_is_made_less_exact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    # Given many colours and noise
    source, target = tmp_path / "source", tmp_path / "target"
    gradient = PIL.Image.linear_gradient("L").resize(SIZE)
    colors = PIL.Image.merge("RGB", (gradient, gradient.rotate(180), gradient.rotate(90)))
    noisy = [
        ImageChops.add(colors, PIL.Image.effect_noise(SIZE, 8).convert("RGB"), 1, -128)
        for _ in range(8)
    ]
    noisy[0].save(source, "GIF", save_all=True, append_images=noisy[1:], duration=50)

    def size(share: float) -> int:
        monkeypatch.setattr(animation, "_BUDGET_FACTOR", share)
        list(render_unsandboxed(source, probe(source), {target: Image().fit(*HALF)}, Image()))
        return target.stat().st_size

    exact = size(1e9)
    just_enough = exact / (source.stat().st_size / 4)

    # I expect a smaller budget to shrink it a little, and a far smaller one as far as it can
    assert size(just_enough * 1.01) == exact
    assert exact > size(just_enough / 1.2) > size(just_enough / 2.5) == size(just_enough / 9)


@pytest.mark.parametrize("frames", [1, 4])
def test_facts_that_lack_the_bytes_of_the_source_make_no_version_worse(tmp_path: Path, frames: int):
    source = tmp_path / "source.gif"
    source.write_bytes(images.gif(SIZE, [50] * frames))
    info = probe(source)
    of_old, of_new = tmp_path / "old", tmp_path / "new"

    list(render_unsandboxed(source, info, {of_new: Image().fit(*HALF)}, Image()))
    list(render_unsandboxed(source, replace(info, bytes=0), {of_old: Image().fit(*HALF)}, Image()))

    assert of_old.read_bytes() == of_new.read_bytes()


def test_cropped_versions_and_functions_of_the_caller(tmp_path: Path):
    made = drawn(7, holes=False, disposals="1")
    source, part, grey = (tmp_path / name for name in ("source", "part", "grey"))
    source.write_bytes(made.content)

    recipes = {
        part: Image().fill(50, 50),
        grey: Image().fit(*HALF).apply(lambda frame: frame.convert("L").convert("RGB")),
    }
    images.make(source, recipes)

    for picture, wanted in side_by_side(decoded(part, (50, 50)), made.shown):
        assert_looks_like(picture, wanted.crop((30, 0, 170, 140)))
    for picture, wanted in side_by_side(decoded(grey, HALF), made.shown):
        assert_looks_like(picture, wanted.convert("L").convert("RGBA"))


def test_identical_neighbouring_frames_become_one(tmp_path: Path):
    source, target = tmp_path / "source", tmp_path / "target"
    still = images.frames((300, 200), 1)[0]
    other = images.frames((300, 200), 2)[1]
    frames = [still, still, still, other]
    source.write_bytes(b"")
    content = bytearray(b"GIF89a" + words(300, 200) + b"\x70\0\0")
    for frame in frames:
        reduced = frame.quantize(64)
        content += b"\x21\xf9\x04\x04" + words(7) + b"\0\0\x2c" + words(0, 0, 300, 200) + b"\x85"
        content += bytes(reduced.getpalette()).ljust(192, b"\0")
        content += b"\x06" + reduced.tobytes("gif", "P", 6, 0) + b"\0"
    source.write_bytes(bytes(content) + b"\x3b")

    images.make(source, {target: Image().fit(100, 100)})

    assert images.timing(target.read_bytes())[0] == [210, 70]


@pytest.mark.parametrize("format", ["PNG", "WEBP"])
def test_other_animations_become_gifs(tmp_path: Path, format: str):
    # Given frames of which some are too short for a GIF
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(images.animated(format, [12, 12, 12, 50, 104, 301]))

    images.make(source, {target: Image().fit(100, 100).convert("gif")})

    delays, loop = images.timing(target.read_bytes())
    assert min(delays) >= 20
    assert sum(delays) == pytest.approx(491, abs=10)
    assert loop == 1  # repetition, as it plays twice


def test_a_frame_too_short_for_a_gif_is_merged_into_the_next(tmp_path: Path):
    # Given frames of 12 ms that each change another place
    source, target = tmp_path / "source", tmp_path / "target"
    frames = [PIL.Image.new("RGB", SIZE, "white")]
    for number in range(1, 10):
        frames.append(frames[-1].copy())
        place = (20 * number, 14 * number)
        frames[-1].paste(COLORS[number % 5], (*place, place[0] + 16, place[1] + 10))
    delays = [12] * 9 + [300]
    frames[0].save(source, "PNG", save_all=True, append_images=frames[1:], duration=delays)

    images.make(source, {target: Image().fit(100, 100).convert("gif")})

    # I expect each frame of the GIF to contain all changes up to its time
    shown, begins = decoded(target, HALF), [12 * number for number in range(10)]
    now = 0
    for picture, delay_ms in shown:
        assert delay_ms >= 20
        latest = max(at for at, begin in enumerate(begins) if begin <= now + 6)
        assert_looks_like(picture, frames[latest].convert("RGBA"))
        now += delay_ms
    assert now == pytest.approx(408, abs=10)


@pytest.mark.parametrize("format", ["gif", "png"])
def test_a_delay_too_long_for_the_format_is_split_or_rounded(tmp_path: Path, format: str):
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(images.animated("WEBP", [700_000, 50]))

    images.make(source, {target: Image().fit(100, 100).convert(format)})

    assert sum(images.timing(target.read_bytes())[0]) == 700_050


def test_a_frame_may_extend_beyond_the_picture_but_not_be_huge(tmp_path: Path):
    source, target = tmp_path / "source", tmp_path / "target"
    content = bytearray(drawn(1, holes=False, disposals="1").content)
    with_ends = GifBlocks(Reader(io.BytesIO(content)))
    at = content.index(b"\x2c", next(iter(with_ends)).data[1]) + 1  # of the second frame
    source.write_bytes(bytes(content[:at] + words(150, 100) + content[at + 4 :]))

    images.make(source, {target: Image().fit(*HALF)})
    assert probe(target).width == HALF[0]

    source.write_bytes(bytes(content[:at] + words(0, 0, 65535, 65535) + content[at + 8 :]))
    with pytest.raises(Unreadable, match="larger than the picture"):
        probe(source)


@pytest.mark.parametrize("box", [(500, 500, 20, 20), (0, 0, 0, 0), (199, 0, 20, 20)])
def test_a_frame_outside_the_picture_changes_nothing(
    tmp_path: Path, box: tuple[int, int, int, int]
):
    # Given two more frames outside the picture, or empty, that are cleared afterwards
    one = drawn(1, count=1, holes=False, disposals="1").content.removesuffix(b"\x3b")
    lzw = PIL.Image.new("L", box[2:], 1).tobytes("gif", "L", 3, 0) if box[2] else b""
    beside = b"\x21\xf9\x04\x08" + words(5) + b"\0\0\x2c" + words(*box) + b"\x82" + bytes(24)
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(one + beside + b"\x03" + lzw + b"\0" + beside + b"\x03" + lzw + b"\0\x3b")

    images.make(source, {target: Image().fit(*HALF)})

    assert probe(target).duration_ms == probe(source).duration_ms


@pytest.mark.parametrize("number", [0, 2])
def test_a_damaged_frame_is_shown_in_part_unless_it_is_the_first(tmp_path: Path, number: int):
    # Given a frame with too few pixels
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(images.gif((300, 200), [50] * 4))
    with source.open("rb") as file:
        start, end = list(GifBlocks(Reader(file)))[number].data
    content = source.read_bytes()
    source.write_bytes(
        content[:start] + b"\x20" + content[start + 1 : start + 33] + b"\0" + content[end:]
    )

    if number == 0:
        with pytest.raises(Unreadable):
            images.make(source, {target: Image().fit(*HALF)})
    else:
        images.make(source, {target: Image().fit(*HALF)})
        assert probe(target).duration_ms == 200
