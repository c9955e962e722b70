"""Animated GIFs made again: what they show is compared, moment by moment, with what the source
shows by the specification; what we wrote is decoded by ffmpeg."""

import random
import subprocess
from pathlib import Path
from typing import NamedTuple

import imageio_ffmpeg
import PIL.Image
import PIL.ImageDraw
import pytest
from PIL import ImageChops, ImageStat

from gifster.imaging import Image, animation, patches, render_unsandboxed
from gifster.imaging.errors import Unreadable
from gifster.imaging.gif_blocks import GifBlocks
from gifster.imaging.probe import probe
from gifster.imaging.reader import Reader
from tests import images

SIZE, HALF = (200, 140), (100, 70)
COLORS = [(230, 40, 60), (40, 160, 70), (50, 80, 220), (240, 200, 40), (20, 20, 30)]


class Source(NamedTuple):
    content: bytes
    #: What is seen, by GIF89a, and for how long (ms).
    shown: list[tuple[PIL.Image.Image, int]]


def drawn(seed: int, *, count: int = 12, disposals: str = "0123", holes: bool = True) -> Source:
    """A GIF written by hand: frames at any place, of any disposal, with palettes of their own,
    interlaced or not; and what a viewer composes of them."""
    chance = random.Random(seed)
    content = bytearray(b"GIF89a" + words(*SIZE) + b"\x70\0\0")
    content += b"\x21\xff\x0bNETSCAPE2.0\x03\x01\0\0\0"
    canvas, shown = PIL.Image.new("RGBA", SIZE), []
    for number in range(count):
        whole = number == 0 and not holes
        size = SIZE if whole else (chance.randint(8, SIZE[0]), chance.randint(8, SIZE[1]))
        x, y = (chance.randint(0, SIZE[k] - size[k]) for k in (0, 1))
        colors = chance.sample(COLORS, len(COLORS))
        drawn = PIL.Image.new("L", size, chance.randrange(5) if not holes or number % 2 else 7)
        draw = PIL.ImageDraw.Draw(drawn)
        for _ in range(3):
            left, top = chance.randrange(size[0]), chance.randrange(size[1])
            draw.rectangle((left, top, left + 60, top + 40), chance.choice([0, 1, 2, 3, 4]))
        if holes or number:
            draw.rectangle((0, 0, size[0] // 3, size[1] // 3), 7)
        disposal, delay_ms = int(chance.choice(disposals)), chance.choice([20, 50, 70, 300])
        interlaced = chance.choice([0, 1])
        content += b"\x21\xf9\x04" + bytes([disposal << 2 | 1]) + words(delay_ms // 10) + b"\x07\0"
        content += b"\x2c" + words(x, y, *size) + bytes([0x82 | interlaced << 6])
        content += b"".join(bytes(color) for color in colors).ljust(24, b"\0")
        content += b"\x03" + drawn.tobytes("gif", "L", 3, interlaced) + b"\0"

        before = canvas.copy()
        picture = PIL.Image.new("RGB", size)
        for index, color in enumerate(colors):
            picture.paste(color, mask=drawn.point([255 * (at == index) for at in range(256)]))
        canvas.paste(picture, (x, y), drawn.point([255 * (at != 7) for at in range(256)]))
        shown.append((canvas.copy(), delay_ms))
        if disposal == 2:
            canvas.paste((0, 0, 0, 0), (x, y, x + size[0], y + size[1]))
        elif disposal == 3:
            canvas = before
    return Source(bytes(content) + b"\x3b", shown)


def words(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(2, "little") for number in numbers)


def decoded(
    path: Path, size: tuple[int, int], format: str = "gif"
) -> list[tuple[PIL.Image.Image, int]]:
    """What ffmpeg sees in an animation, and for how long (ms)."""
    done = subprocess.run(
        [
            imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", format, "-i", str(path),
            "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgba", "-",
        ],
        capture_output=True, check=True,
    )  # fmt: skip
    length = size[0] * size[1] * 4
    pictures = [
        PIL.Image.frombytes("RGBA", size, done.stdout[start : start + length])
        for start in range(0, len(done.stdout), length)
    ]
    delays, _ = images.timing(path.read_bytes())
    assert len(pictures) == len(delays)
    return list(zip(pictures, delays, strict=True))


def moments(shown: list[tuple[PIL.Image.Image, int]]) -> list[PIL.Image.Image]:
    """What is shown in each hundredth of a second."""
    return [picture for picture, delay_ms in shown for _ in range(delay_ms // 10)]


def assert_looks_like(made: PIL.Image.Image, wanted: PIL.Image.Image) -> None:
    """The same holes, but for their edges; and the same colours, but for the palette."""
    wanted = wanted.resize(made.size, PIL.Image.Resampling.BICUBIC)
    alpha = wanted.getchannel("A")
    sure = alpha.point([255 * (value < 60 or value > 195) for value in range(256)])
    holes = ImageChops.difference(
        made.getchannel("A"), alpha.point([255 * (v >= 128) for v in range(256)])
    )
    assert ImageChops.darker(holes, sure).getbbox() is None
    solid = ImageChops.darker(
        made.getchannel("A"), alpha.point([255 * (v > 250) for v in range(256)])
    )
    if solid.getbbox():
        off = ImageChops.difference(made.convert("RGB"), wanted.convert("RGB"))
        # Of what is small most is edge, and the palette has few colours for that
        small = ImageStat.Stat(solid).sum[0] / 255 < 500
        assert max(ImageStat.Stat(off, solid).mean) < (25 if small else 12)


@pytest.mark.parametrize("holes", [True, False], ids=["holes", "solid"])
@pytest.mark.parametrize("seed", range(12))
def test_it_shows_what_the_source_shows_at_every_moment(tmp_path: Path, seed: int, holes: bool):
    made = drawn(seed, holes=holes, disposals="0123" if holes else "013")
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(made.content)

    images.make(source, {target: Image().fit(*HALF)})

    after, before = moments(decoded(target, HALF)), moments(made.shown)
    assert len(after) == len(before)
    for picture, wanted in zip(after[::2], before[::2], strict=True):
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
    # Given one that is longer than what may be kept
    monkeypatch.setattr(patches, "_MEMORY_BYTES", 50_000)
    made = drawn(5)
    source, target, other = (tmp_path / name for name in ("source", "target", "other"))
    source.write_bytes(made.content)

    list(render_unsandboxed(source, probe(source), {target: Image().fit(*HALF)}, Image()))

    # I expect it to be the same
    monkeypatch.undo()
    list(render_unsandboxed(source, probe(source), {other: Image().fit(*HALF)}, Image()))
    assert target.read_bytes() == other.read_bytes()


def test_what_has_many_bytes_for_what_it_shows_is_made_less_exact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    # Given many colours, and noise
    source, target = tmp_path / "source", tmp_path / "target"
    gradient = PIL.Image.linear_gradient("L").resize(SIZE)
    colors = PIL.Image.merge("RGB", (gradient, gradient.rotate(180), gradient.rotate(90)))
    noisy = [
        ImageChops.add(colors, PIL.Image.effect_noise(SIZE, 8).convert("RGB"), 1, -128)
        for _ in range(12)
    ]
    noisy[0].save(source, "GIF", save_all=True, append_images=noisy[1:], duration=50)

    def size(share: float) -> int:
        monkeypatch.setattr(animation, "_BUDGET_FACTOR", share)
        list(render_unsandboxed(source, probe(source), {target: Image().fit(*HALF)}, Image()))
        return target.stat().st_size

    exact = size(1e9)
    just_enough = exact / (source.stat().st_size / 4)

    # I expect that with a little less it is somewhat smaller, with much less as small as may be
    assert size(just_enough * 1.01) == exact
    assert exact > size(just_enough / 1.2) > size(just_enough / 1.6) == size(just_enough / 9)


def test_parts_and_functions(tmp_path: Path):
    made = drawn(7, holes=False, disposals="1")
    source, part, grey = (tmp_path / name for name in ("source", "part", "grey"))
    source.write_bytes(made.content)

    recipes = {
        part: Image().fill(50, 50),
        grey: Image().fit(*HALF).apply(lambda frame: frame.convert("L").convert("RGB")),
    }
    images.make(source, recipes)

    for picture, wanted in zip(moments(decoded(part, (50, 50))), moments(made.shown), strict=True):
        assert_looks_like(picture, wanted.crop((30, 0, 170, 140)))
    for picture, wanted in zip(moments(decoded(grey, HALF)), moments(made.shown), strict=True):
        assert_looks_like(picture, wanted.convert("L").convert("RGBA"))


def test_identical_neighbours_are_one_frame(tmp_path: Path):
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
    # Given frames of which some are shorter than a GIF can say
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(images.animated(format, [12, 12, 12, 50, 104, 301]))

    images.make(source, {target: Image().fit(100, 100).convert("gif")})

    delays, loop = images.timing(target.read_bytes())
    assert min(delays) >= 20
    assert sum(delays) == pytest.approx(491, abs=10)
    assert loop == 2


def test_what_is_too_short_for_a_gif_comes_with_the_next_frame(tmp_path: Path):
    # Given frames of 12 ms, each with something new somewhere
    source, target = tmp_path / "source", tmp_path / "target"
    frames = [PIL.Image.new("RGB", SIZE, "white")]
    for number in range(1, 10):
        frames.append(frames[-1].copy())
        place = (20 * number, 14 * number)
        frames[-1].paste(COLORS[number % 5], (*place, place[0] + 16, place[1] + 10))
    delays = [12] * 9 + [300]
    frames[0].save(source, "PNG", save_all=True, append_images=frames[1:], duration=delays)

    images.make(source, {target: Image().fit(100, 100).convert("gif")})

    # I expect each frame of the GIF to have everything up to its time
    shown, begins = decoded(target, HALF), [12 * number for number in range(10)]
    now = 0
    for picture, delay_ms in shown:
        assert delay_ms >= 20
        latest = max(at for at, begin in enumerate(begins) if begin <= now + 6)
        assert_looks_like(picture, frames[latest].convert("RGBA"))
        now += delay_ms
    assert now == pytest.approx(408, abs=10)


@pytest.mark.parametrize("holes", [True, False], ids=["holes", "solid"])
def test_an_animated_png_shows_what_the_source_shows(tmp_path: Path, holes: bool):
    made = drawn(3, holes=holes, disposals="0123" if holes else "013")
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(made.content)

    images.make(source, {target: Image().fit(*HALF).convert("png")})

    after, before = moments(decoded(target, HALF, "apng")), moments(made.shown)
    assert len(after) == len(before)
    for picture, wanted in zip(after[::2], before[::2], strict=True):
        small = wanted.resize(HALF, PIL.Image.Resampling.BICUBIC)
        assert max(ImageStat.Stat(ImageChops.difference(picture, small)).mean) < 2


def test_an_animated_png_has_of_each_frame_what_is_new(tmp_path: Path):
    source, target, still = (tmp_path / name for name in ("source", "target", "still"))
    noise = random.Random(1).randbytes(3 * SIZE[0] * SIZE[1])
    frames = [PIL.Image.frombytes("RGB", SIZE, noise) for _ in range(20)]
    for number, frame in enumerate(frames):
        frame.paste((255, 0, 0), (8 * number, 30, 8 * number + 10, 40))
    frames[0].save(source, "PNG", save_all=True, append_images=frames[1:], duration=50)

    images.make(source, {target: Image().fit(*HALF), still: Image().fit(*HALF).first_frame()})

    assert probe(target).frames == 20
    assert target.stat().st_size < 2 * still.stat().st_size


@pytest.mark.parametrize("format", ["gif", "png"])
def test_a_delay_longer_than_the_format_can_say_is_said_in_other_words(tmp_path: Path, format: str):
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(images.animated("WEBP", [700_000, 50]))

    images.make(source, {target: Image().fit(100, 100).convert(format)})

    assert sum(images.timing(target.read_bytes())[0]) == 700_050


def test_a_frame_may_hang_over_the_edge_but_not_be_gigantic(tmp_path: Path):
    source, target = tmp_path / "source", tmp_path / "target"
    content = bytearray(drawn(1, holes=False, disposals="1").content)
    at = content.index(b"\x2c") + 1
    source.write_bytes(bytes(content[:at] + words(150, 100) + content[at + 4 :]))

    images.make(source, {target: Image().fit(*HALF)})
    assert probe(target).width == HALF[0]

    source.write_bytes(bytes(content[:at] + words(0, 0, 65535, 65535) + content[at + 8 :]))
    with pytest.raises(Unreadable, match="larger than the picture"):
        probe(source)


@pytest.mark.parametrize("box", [(500, 500, 20, 20), (0, 0, 0, 0), (199, 0, 20, 20)])
def test_a_frame_beside_the_picture_changes_nothing_in_it(
    tmp_path: Path, box: tuple[int, int, int, int]
):
    # Given a second frame that is elsewhere, or nowhere, and is to be cleared
    one = drawn(1, count=1, holes=False, disposals="1").content.removesuffix(b"\x3b")
    lzw = PIL.Image.new("L", box[2:], 1).tobytes("gif", "L", 3, 0) if box[2] else b""
    beside = b"\x21\xf9\x04\x08" + words(5) + b"\0\0\x2c" + words(*box) + b"\x82" + bytes(24)
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(one + beside + b"\x03" + lzw + b"\0" + beside + b"\x03" + lzw + b"\0\x3b")

    images.make(source, {target: Image().fit(*HALF)})

    assert probe(target).duration_ms == probe(source).duration_ms


@pytest.mark.parametrize("number", [0, 2])
def test_a_damaged_frame_is_shown_as_far_as_it_goes(tmp_path: Path, number: int):
    # Given a frame whose pixels end early
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
