"""MP4 and WebP versions of animations, as ffmpeg shows them; and delays in other formats."""

import io
import random
from pathlib import Path
from typing import Any

import PIL.Image
import PIL.ImageDraw
import PIL.ImageSequence
import pytest

from gifster import imaging
from gifster.imaging import Image, gif, video
from gifster.imaging.probe import probe
from tests import images
from tests.imaging.recordings import ffmpeg

DELAYS = [30, 50, 990, 20, 400]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(images.gif((301, 201), DELAYS))
    return path


def film(path: Path, size: tuple[int, int]) -> list[PIL.Image.Image]:
    """The pictures that ffmpeg shows of a film, one for each hundredth of a second."""
    raw = ffmpeg("-i", path, "-vf", "fps=100", "-pix_fmt", "rgb24", "-f", "rawvideo", "-")
    step = size[0] * size[1] * 3
    return [
        PIL.Image.frombytes("RGB", size, raw[at : at + step]) for at in range(0, len(raw), step)
    ]


def near(pixel: object, color: tuple[int, ...]) -> bool:
    """Whether a pixel is almost of this colour."""
    assert isinstance(pixel, tuple)
    return all(abs(one - other) < 12 for one, other in zip(pixel, color, strict=True))


def test_an_mp4_shows_each_frame_for_as_long_as_the_gif(source: Path, tmp_path: Path):
    target = tmp_path / "target"

    assert images.make(source, {target: Image().convert("mp4")}) == [target]

    # I expect odd sides to lose a pixel, and every frame at its time
    assert (probe(target).content_type, probe(target).width, probe(target).height) == (
        "video/mp4", 300, 200
    )  # fmt: skip
    with PIL.Image.open(source) as gif:
        frames = []
        for number, delay in enumerate(DELAYS):
            gif.seek(number)
            frames += [gif.convert("RGB").crop((0, 0, 300, 200))] * (delay // 10)
    shown = film(target, (300, 200))
    assert len(shown) == len(frames)
    assert max(images.difference(one, other) for one, other in zip(shown, frames, strict=True)) < 4
    # … and the index before the data, so that browsers can stream it
    assert target.read_bytes().index(b"moov") < target.read_bytes().index(b"mdat")


@pytest.mark.parametrize("size", [(1, 30), (30, 1), (2, 3)])
def test_an_mp4_may_be_tiny(tmp_path: Path, size: tuple[int, int]):
    source, target = tmp_path / "source", tmp_path / "target"
    frames = [PIL.Image.new("RGB", size, color) for color in ("red", "blue", "red")]
    frames[0].save(source, "GIF", save_all=True, append_images=frames[1:], duration=50)

    images.make(source, {target: Image().convert("mp4")})

    even = tuple(max(2, side - side % 2) for side in size)
    assert (probe(target).width, probe(target).height) == even
    assert (
        images.difference(
            film(target, even)[7].crop((0, 0, 1, 1)), PIL.Image.new("RGB", (1, 1), "blue")
        )
        < 40
    )


@pytest.mark.parametrize("format", ["mp4", "webm"])
def test_a_film_that_cannot_be_made_is_left_out(
    source: Path, tmp_path: Path, format: str, monkeypatch
):
    target, other, still = tmp_path / "target", tmp_path / "other", tmp_path / "still"
    still.write_bytes(images.still("PNG"))
    recipes = {target: Image().convert(format), other: Image().fit(50, 50)}

    # There is none of a still, and none without PyAV
    assert images.make(still, recipes) == [other]
    monkeypatch.setattr(video, "is_available", lambda: False)
    assert target not in list(imaging.render_unsandboxed(source, probe(source), recipes, Image()))
    assert not target.exists()


def test_a_transparent_animation_is_white_as_mp4_and_stays_transparent_as_webm(tmp_path: Path):
    clear, mp4, webm = tmp_path / "clear", tmp_path / "mp4", tmp_path / "webm"
    frames = [PIL.Image.new("RGBA", (60, 40), color) for color in ("red", "blue", "red")]
    for frame in frames:
        frame.paste((0, 0, 0, 0), (0, 0, 20, 40))
    frames[0].save(clear, "GIF", save_all=True, append_images=frames[1:], disposal=2, duration=100)

    images.make(clear, {mp4: Image().convert("mp4"), webm: Image().convert("webm")})

    shown = film(mp4, (60, 40))
    assert len(shown) == 30
    assert near(shown[15].getpixel((5, 20)), (255, 255, 255))
    assert near(shown[15].getpixel((45, 20)), (0, 0, 255))
    raw = ffmpeg("-c:v", "libvpx-vp9", "-i", webm, "-pix_fmt", "rgba", "-f", "rawvideo", "-")
    first = PIL.Image.frombytes("RGBA", (60, 40), raw[: 60 * 40 * 4])
    assert first.getpixel((5, 20))[3] == 0
    assert near(first.getpixel((45, 20)), (255, 0, 0, 255))


def test_a_webm_shows_each_frame_for_as_long_as_the_gif(source: Path, tmp_path: Path):
    target = tmp_path / "target"

    images.make(source, {target: Image().convert("webm")})

    found = probe(target)
    assert (found.content_type, found.width, found.height) == ("video/webm", 300, 200)
    assert len(film(target, (300, 200))) == sum(DELAYS) // 10


def test_versions_that_come_out_the_same_are_encoded_once(
    source: Path, tmp_path: Path, monkeypatch
):
    thumb, wide, small = tmp_path / "thumb", tmp_path / "wide", tmp_path / "small"
    fit = Image().fit(100, 100)
    recipes = {thumb: fit, wide: Image().fit(100, None).convert("gif"), small: fit.quality(40)}
    written: list[Path] = []
    write = gif.write

    def noted(target: Path, *rest: Any) -> list[int]:
        written.append(target)
        return write(target, *rest)

    monkeypatch.setattr(gif, "write", noted)

    made = list(imaging.render_unsandboxed(source, probe(source), recipes, Image()))

    assert written == [thumb, small]
    assert {thumb, wide, small} <= set(made)
    assert wide.read_bytes() == thumb.read_bytes() != small.read_bytes()


@pytest.mark.parametrize(("loop", "plays"), [(None, 1), (0, 0), (1, 2), (3, 4), (65535, 65535)])
def test_a_webp_keeps_frames_delays_and_loop(tmp_path: Path, loop: int | None, plays: int):
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(images.gif((200, 150), DELAYS, loop))

    images.make(source, {target: Image().fit(100, 100).convert("webp")})

    # A GIF counts repetitions, WebP how often it plays in all, to 65,535 times
    assert images.timing(target.read_bytes()) == (DELAYS, plays)
    with PIL.Image.open(target) as made, PIL.Image.open(source) as gif:
        for number in range(len(DELAYS)):
            made.seek(number)
            gif.seek(number)
            wanted = gif.convert("RGB").resize((100, 75), PIL.Image.Resampling.LANCZOS)
            assert images.difference(made, wanted) < 4


@pytest.mark.parametrize("format", ["PNG", "WEBP", "AVIF"])
def test_formats_other_than_gif_keep_delays_to_the_ms(tmp_path: Path, format: str):
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(images.animated(format, [16, 17, 17, 233, 60_001]))

    images.make(source, {target: Image().fit(100, 100)})

    delays, loop = images.timing(target.read_bytes())
    assert delays[:4] == [16, 17, 17, 233]
    assert delays[4] == pytest.approx(60_001, abs=10)
    assert loop == (None if format == "AVIF" else 2)


def test_a_webp_keeps_partial_and_full_transparency(tmp_path: Path):
    source, target = tmp_path / "source", tmp_path / "target"
    frames = []
    for radius in (40, 80):
        frame = PIL.Image.new("RGBA", (300, 300))
        box = (150 - radius, 150 - radius, 150 + radius, 150 + radius)
        PIL.ImageDraw.Draw(frame).ellipse(box, fill=(200, 0, 0, 255))
        frames.append(frame)
    frames[0].save(source, "GIF", save_all=True, append_images=frames[1:], duration=50, disposal=2)

    images.make(source, {target: Image().fit(100, 100).convert("webp")})

    with PIL.Image.open(target) as made:
        made.seek(1)
        alpha = made.convert("RGBA").getchannel("A")
        assert (alpha.getpixel((2, 2)), alpha.getpixel((50, 50))) == (0, 255)
        assert set(alpha.tobytes()) == {0, 85, 170, 255}


def test_a_wide_half_transparent_part_of_a_webp_keeps_its_opacity(tmp_path: Path):
    # Given an animation of half transparent pictures
    source, target, padded = (tmp_path / name for name in ("source", "target", "padded"))
    frames = [PIL.Image.new("RGBA", (60, 40), (200, 0, blue, 128)) for blue in (0, 250)]
    images.saved(frames, source, "PNG")

    images.make(
        source,
        {
            target: Image().convert("webp"),
            padded: Image().pad(80, 80, "#0000ff40").convert("webp"),
        },
    )

    # I expect that this opacity, and that of a background, are kept in each frame
    for path, place, opacity in ((target, (5, 5), 128), (padded, (40, 5), 64)):
        with PIL.Image.open(path) as made:
            assert [
                frame.convert("RGBA").getchannel("A").getpixel(place)
                for frame in PIL.ImageSequence.Iterator(made)
            ] == [opacity] * 2


@pytest.mark.parametrize("opacity", [80, 200])
def test_noise_in_the_opacity_of_a_webp_is_evened(tmp_path: Path, opacity: int):
    # Given a half transparent animation whose opacity has noise, as lossy formats leave it, beside
    # an opaque part with the same noise
    source, target = tmp_path / "source", tmp_path / "target"
    levels = [opacity + noise for noise in (-3, -1, 0, 0, 0, 0, 0, 0, 1, 2)]
    row = bytes(levels[x * 7 % 10] if x < 50 else 255 - x * 7 % 4 for x in range(100))
    frames = []
    for blue in (0, 250):
        frame = PIL.Image.new("RGBA", (100, 40), (200, 0, blue, 0))
        frame.putalpha(PIL.Image.frombytes("L", (100, 40), row * 40))
        frames.append(frame)
    images.saved(frames, source, "PNG")

    images.make(source, {target: Image().convert("webp")})

    # I expect one level of each, without specks of another
    with PIL.Image.open(target) as made:
        for frame in PIL.ImageSequence.Iterator(made):
            alpha = frame.convert("RGBA").getchannel("A")
            assert alpha.crop((0, 0, 50, 40)).getextrema() == (opacity, opacity)
            assert alpha.crop((50, 0, 100, 40)).getextrema() == (255, 255)


@pytest.mark.parametrize("is_extended", [False, True])
@pytest.mark.parametrize("alpha", [255, 128])
def test_a_lossless_webp_is_as_transparent_as_its_pixels(
    tmp_path: Path, is_extended: bool, alpha: int
):
    # Given a lossless WebP that says that it has no transparency
    picture = images.frames((60, 40), 1)[0].convert("RGBA")
    picture.paste((0, 0, 0, alpha), (20, 10, 40, 30))
    content = io.BytesIO()
    picture.save(content, "WEBP", lossless=True, exact=True)
    chunk = bytearray(content.getvalue()[12:])
    chunk[12] &= 0xEF
    if is_extended:
        chunk[:0] = b"VP8X\x0a\0\0\0\0\0\0\0" + bytes([59, 0, 0, 39, 0, 0])
    source, target, small = (tmp_path / name for name in ("source", "target.png", "small.webp"))
    source.write_bytes(b"RIFF" + (len(chunk) + 4).to_bytes(4, "little") + b"WEBP" + chunk)

    images.make(
        source,
        {target: Image().convert("png"), small: Image().fit(30, 30)},
    )

    # I expect what it has, as in browsers
    with PIL.Image.open(target) as made:
        assert made.mode == ("RGBA" if alpha < 255 else "RGB")
        assert made.convert("RGBA").tobytes() == picture.tobytes()
    with PIL.Image.open(small) as made:
        pixel = made.convert("RGBA").getpixel((15, 10))
        assert isinstance(pixel, tuple)
        assert pixel[3] == pytest.approx(alpha, abs=5)


@pytest.mark.parametrize("xmp", [b"", b"<x:xmpmeta/>"])
def test_a_moving_webp_is_as_transparent_as_its_frames(tmp_path: Path, xmp: bytes):
    # Given an animated WebP whose header says that it has no transparency, and perhaps metadata
    pictures = [picture.convert("RGBA") for picture in images.frames((60, 40), 3)]
    for picture in pictures:
        picture.paste((0, 0, 0, 0), (20, 10, 40, 30))
    source, target = tmp_path / "source", tmp_path / "target.png"
    pictures[0].save(
        source, "WEBP", save_all=True, append_images=pictures[1:], duration=100, xmp=xmp
    )
    content = bytearray(source.read_bytes())
    assert bool(content[20] & 4) is bool(xmp)
    content[20] &= 0xEF
    source.write_bytes(content)

    images.make(source, {target: Image().convert("png")})

    # I expect that each frame is transparent where its pixels are, as in browsers
    with PIL.Image.open(target) as made:
        for frame in PIL.ImageSequence.Iterator(made):
            alpha = frame.convert("RGBA").getchannel("A")
            assert (alpha.getpixel((30, 20)), alpha.getpixel((5, 35))) == (0, 255)


def test_a_webp_is_transparent_around_opaque_frames(tmp_path: Path):
    # Given an animation without transparency, whose padding is the only transparent part
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(images.gif((200, 100), DELAYS))

    images.make(source, {target: Image().pad(104, 104).convert("webp")})

    with PIL.Image.open(target) as made:
        for number in range(len(DELAYS)):
            made.seek(number)
            alpha = made.convert("RGBA").getchannel("A")
            assert (alpha.getpixel((52, 5)), alpha.getpixel((52, 52))) == (0, 255)


def test_versions_are_ready_in_the_order_of_their_recipes(source: Path, tmp_path: Path):
    recipes = {
        tmp_path / "small": Image().fit(50, 50),
        tmp_path / "film": Image().convert("mp4"),
        tmp_path / "poster": Image().first_frame().convert("webp"),
        tmp_path / "large": Image().fit(200, 200),
    }

    made = [path.name for path in images.make(source, recipes)]

    # A still takes hardly any time, and comes first
    assert made == ["poster", "small", "film", "large"]


def test_a_webp_that_would_be_larger_than_its_gif_is_left_out(tmp_path: Path):
    # Given text that appears word by word, which is smaller as a GIF, and a film
    words, page = [], PIL.Image.new("L", (300, 200), "white")
    chance = random.Random(1)
    for _ in range(20):
        at = chance.randrange(250), chance.randrange(190)
        PIL.ImageDraw.Draw(page).text(at, "".join(chance.choices("GIFSTER", k=12)), "black")
        words.append(page.copy())
    clouds = PIL.Image.frombytes("RGB", (16, 6), chance.randbytes(288))
    # Reduced once for all frames: Pillow takes seconds to choose a palette for each
    clouds = clouds.resize((400, 200), PIL.Image.Resampling.BICUBIC).quantize(256)
    film = [clouds.crop((at, 0, at + 300, 200)) for at in range(0, 100, 5)]
    gif, webp = tmp_path / "gif", tmp_path / "webp"
    fit = Image().fit(150, 150)
    recipes = {gif: fit, webp: fit.convert("webp")}

    def made(source: Path, smaller_than: dict[Path, Path]) -> list[Path]:
        rendered = imaging.render(source, probe(source), recipes, Image(), smaller_than)
        return [path for path in rendered if isinstance(path, Path)]

    assert made(images.saved(words, tmp_path / "words"), {webp: gif}) == [gif]
    assert made(images.saved(film, tmp_path / "film"), {webp: gif}) == [gif, webp]
    # Without the condition it is made, whatever its size
    assert made(tmp_path / "words", {}) == [gif, webp]
    assert webp.stat().st_size > gif.stat().st_size
    # The condition also holds beside a GIF that keeps its pixels
    small = gif.rename(tmp_path / "small")
    webp.unlink()
    recipes = {gif: Image(), webp: Image().convert("webp")}
    assert made(small, {webp: gif}) == [gif]
    assert gif.stat().st_size <= small.stat().st_size


def test_a_webm_is_not_begun_if_the_gif_is_smaller_than_the_mp4(tmp_path: Path):
    # Given a GIF of a few bytes, whose WebM is smaller than its MP4
    flat = [PIL.Image.new("RGB", (100, 50), color) for color in ("red", "green")]
    source, fit = images.saved(flat, tmp_path / "flat"), Image().fit(50, 25)
    gif, mp4, webm = tmp_path / "gif", tmp_path / "mp4", tmp_path / "webm"
    recipes = {gif: fit, mp4: fit.convert("mp4"), webm: fit.convert("webm")}
    images.make(source, recipes)
    assert gif.stat().st_size < webm.stat().st_size < mp4.stat().st_size

    # I expect none that must be smaller than the MP4
    webm.unlink()
    rendered = imaging.render(source, probe(source), recipes, Image(), {webm: mp4})
    assert [path for path in rendered if isinstance(path, Path)] == [gif, mp4]
    assert not webm.exists()


def drawing(path: Path, background: str | None) -> Path:
    """A terminal of some lines of text, one more in each frame; or text on nothing."""
    shown = []
    for count in range(1, 13):
        frame = PIL.Image.new("RGBA", (480, 320), background or (0, 0, 0, 0))
        draw = PIL.ImageDraw.Draw(frame)
        for line in range(count):
            text = f"{line} the quick brown fox jumps over the lazy dog"
            draw.text((10, 10 + 24 * line), text, "green" if line % 2 else "navy", font_size=20)
        shown.append(frame if background is None else frame.convert("RGB"))
    return images.saved(shown, path)


def frame_of(path: Path, number: int) -> PIL.Image.Image:
    with PIL.Image.open(path) as image:
        image.seek(number)
        return image.convert("RGB")


def test_the_webp_of_a_drawing_keeps_its_colors_in_fewer_bytes(tmp_path: Path):
    source = drawing(tmp_path / "a.gif", "white")
    made, lossy = tmp_path / "made", tmp_path / "lossy"

    images.make(source, {made: Image().convert("webp"), lossy: Image().quality(76).convert("webp")})

    assert made.stat().st_size < lossy.stat().st_size / 2
    assert probe(made).frames == probe(source).frames
    for number in range(12):
        exact, near, other = (frame_of(path, number) for path in (source, made, lossy))
        assert images.difference(exact, near) < images.difference(exact, other)


def test_the_webp_of_a_transparent_drawing_has_soft_edges_when_it_is_shrunk(tmp_path: Path):
    source = drawing(tmp_path / "a.gif", None)
    recipe = Image().fit(240, None).convert("webp")

    images.make(source, {tmp_path / "made": recipe, tmp_path / "lossy": recipe.quality(76)})

    assert (tmp_path / "made").stat().st_size < (tmp_path / "lossy").stat().st_size
    with PIL.Image.open(tmp_path / "made") as image:
        levels = dict(image.convert("RGBA").getchannel("A").getcolors())
    assert len(levels) > 2, "each pixel is opaque or transparent"
