"""A version has no more bytes than its original, if it is of the same type and no larger."""

import io
import random
from collections.abc import Callable
from operator import sub
from pathlib import Path

import PIL.Image
import PIL.ImageDraw
import PIL.ImageOps
import pytest

from gifster.imaging import Image, render, render_unsandboxed
from gifster.imaging.frames import frames
from gifster.imaging.probe import probe
from tests import images
from tests.imaging.recordings import H264, ffmpeg, info_of
from tests.imaging.viewer import words

SIZE = (300, 200)
#: One that is shrunk has further colours at all edges.
SMALLER = Image().fit(220, 220)


def drawing(number: int = 0, mode: str = "RGB") -> PIL.Image.Image:
    """A flat picture with sharp edges, in which something moves."""
    picture = PIL.Image.new(mode, SIZE, "white" if mode == "RGB" else (0, 0, 0, 0))
    draw = PIL.ImageDraw.Draw(picture)
    for line in range(12):
        draw.line((20 * line, 0, 300 - 9 * line, 200), fill=(20 * line, 0, 255 - 20 * line))
    draw.ellipse((10 * number, 50, 10 * number + 60, 110), fill=(220, 40, 80))
    return picture


def film(number: int = 0) -> PIL.Image.Image:
    """A picture of gradients and grain."""
    picture = PIL.Image.radial_gradient("L").resize(SIZE).rotate(10 * number)
    noise = random.Random(number).randbytes(SIZE[0] * SIZE[1])
    grain = PIL.Image.frombytes("L", SIZE, bytes(80 + value // 4 for value in noise))
    return PIL.Image.merge("RGB", (picture, grain, PIL.Image.blend(picture, grain, 0.5)))


def saved(format: str, *pictures: PIL.Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    more = {"save_all": True, "append_images": pictures[1:], "duration": 80} if pictures[1:] else {}
    pictures[0].save(file, format, **more, **options)
    return file.getvalue()


def turned() -> bytes:
    exif = PIL.Image.Exif()
    exif[0x112] = 6
    return saved("JPEG", film(), quality=20, exif=exif)


def over_white(picture: PIL.Image.Image) -> PIL.Image.Image:
    white = PIL.Image.new("RGBA", picture.size, "white")
    white.alpha_composite(picture.convert("RGBA"))
    return white


def shown(path: Path) -> list[PIL.Image.Image]:
    """The pictures of an animation, over white."""
    return [over_white(frame.picture) for frame in frames(path, probe(path))]


MANY = range(8)
#: The originals, which are made when a test needs one: all take half a second.
STILLS: dict[str, Callable[[], bytes]] = {
    "JPEG": lambda: saved("JPEG", film(), quality=20, optimize=True),
    "turned JPEG": turned,
    "WebP": lambda: saved("WEBP", film(), quality=5),
    "WebP without loss": lambda: saved("WEBP", drawing(), lossless=True, quality=100),
    "AVIF": lambda: saved("AVIF", film(), quality=20),
    "PNG": lambda: saved("PNG", drawing(), optimize=True),
    "PNG of few colours": lambda: saved("PNG", drawing().quantize(8), optimize=True),
    "transparent PNG": lambda: saved("PNG", drawing(mode="RGBA"), optimize=True),
}
ANIMATIONS: dict[str, Callable[[], bytes]] = {
    "WebP": lambda: saved("WEBP", *map(film, MANY), quality=5),
    "WebP without loss": lambda: saved("WEBP", *map(drawing, MANY), lossless=True, quality=100),
    "AVIF": lambda: saved("AVIF", *map(film, MANY), quality=10),
    "PNG": lambda: saved("PNG", *map(drawing, MANY)),
    "PNG of few colours": lambda: saved("PNG", *(drawing(number).quantize(4) for number in MANY)),
    "transparent PNG": lambda: saved("PNG", *(drawing(number, "RGBA") for number in MANY)),
}


@pytest.mark.parametrize("kind", STILLS)
def test_a_still_has_no_more_bytes_than_the_original(tmp_path: Path, kind: str):
    source, target, same = tmp_path / "source", tmp_path / "target", tmp_path / "same"
    source.write_bytes(original := STILLS[kind]())

    images.make(source, {target: SMALLER, same: Image().fit(299, 299)})

    for made in (target, same):
        assert made.stat().st_size <= len(original)
        assert probe(made).content_type == probe(source).content_type
    with PIL.Image.open(source) as wanted, PIL.Image.open(target) as shown:
        upright = PIL.ImageOps.exif_transpose(wanted)
        assert images.difference(over_white(shown), over_white(upright).resize(shown.size)) < 25


@pytest.mark.parametrize("kind", ANIMATIONS)
def test_an_animation_has_no_more_bytes_than_the_original(tmp_path: Path, kind: str):
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(original := ANIMATIONS[kind]())

    images.make(source, {target: SMALLER})

    found = probe(target)
    assert target.stat().st_size <= len(original)
    assert (found.content_type, found.frames) == (probe(source).content_type, len(MANY))
    assert found.duration_ms == probe(source).duration_ms
    for made, wanted in zip(shown(target), shown(source), strict=True):
        assert images.difference(made, wanted.resize(made.size)) < 25


@pytest.mark.parametrize("quality", [None, 70])
def test_a_film_has_no_more_bytes_than_the_original(tmp_path: Path, quality: int | None):
    source, target = tmp_path / "source.mp4", tmp_path / "target"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=160x120:r=12:d=3", *H264, "-crf", "45", source)
    recipe = Image() if quality is None else Image().quality(quality)

    list(render_unsandboxed(source, info_of(source), {target: recipe.convert("mp4")}, Image()))

    assert info_of(target).duration_ms == info_of(source).duration_ms
    assert target.stat().st_size <= source.stat().st_size


def test_a_gif_of_a_quality_has_no_more_bytes_than_the_original(tmp_path: Path):
    source, target = tmp_path / "source", tmp_path / "target"
    grey = [film(number).convert("L").point(lambda value: value // 64 * 64) for number in MANY]
    source.write_bytes(saved("GIF", *grey))

    images.make(source, {target: Image().fit(290, 290).quality(99)})

    assert target.stat().st_size <= source.stat().st_size


@pytest.mark.parametrize("kind", ["PNG", "PNG of few colours", "transparent PNG"])
@pytest.mark.parametrize("made_by", [STILLS, ANIMATIONS], ids=["still", "animation"])
def test_a_png_has_no_quality_and_keeps_its_pixels(
    tmp_path: Path, kind: str, made_by: dict[str, Callable[[], bytes]]
):
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(original := made_by[kind]())

    images.make(source, {target: Image().fit(900, 900).convert("png").quality(100)})

    assert target.stat().st_size <= len(original)
    made, wanted = shown(target), shown(source)
    assert [picture.tobytes() for picture in made] == [picture.tobytes() for picture in wanted]


@pytest.mark.parametrize("name", ["JPEG", "WebP", "AVIF"])
def test_a_still_of_a_higher_quality_than_the_original_has_its_pixels(tmp_path: Path, name: str):
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(STILLS[name]())

    images.make(source, {target: Image().quality(99)})

    assert target.stat().st_size <= source.stat().st_size
    [made], [wanted] = shown(target), shown(source)
    assert made.tobytes() == wanted.tobytes()


def block(control: bytes, color: int) -> bytes:
    """A frame of 2 × 2 pixels."""
    data = PIL.Image.new("L", (2, 2), color).tobytes("gif", "L", 2, 0)
    return control + b"\x2c" + words(0, 0, 2, 2) + b"\0\x02" + data + b"\0"


PALETTE = b"\xff\0\0\0\xff\0\0\0\xff\xff\xff\xff"
HEAD = b"GIF89a" + words(2, 2) + b"\xf1\0\0" + PALETTE
CLEARED = b"\x21\xf9\x04\x08\x07\0\0\0"


@pytest.mark.parametrize("end", [b";", b""], ids=["trailer", "none"])
@pytest.mark.parametrize("control", [b"", CLEARED], ids=["no control", "one that clears"])
def test_a_gif_whose_frames_have_no_delay_has_no_more_bytes(
    tmp_path: Path, control: bytes, end: bytes
):
    # Given frames of which some have no control, as an encoder of many colours writes them
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(HEAD + block(control, 1) + block(b"", 2) + block(b"", 3) + end)

    images.make(source, {target: Image()})

    assert target.stat().st_size <= source.stat().st_size
    wanted = [(frame.picture.tobytes(), frame.delay_ms) for frame in frames(source, probe(source))]
    assert [
        (frame.picture.tobytes(), frame.delay_ms) for frame in frames(target, probe(target))
    ] == wanted


def test_a_large_png_that_is_cropped_needs_no_memory_for_fewer_bytes(tmp_path: Path):
    # Given stripes of few colours, which have few bytes only in them
    source, target = tmp_path / "source", tmp_path / "target"
    row = PIL.Image.frombytes("L", (5000, 1), random.Random(1).randbytes(5000))
    stripes = row.quantize(16).resize((5000, 3800))
    stripes.putpalette(random.Random(2).randbytes(48))
    stripes.save(source, "PNG", optimize=True)

    list(render(source, probe(source), {target: Image().crop(4990, 3790)}, None))

    assert probe(target).width == 4990


def test_an_animation_shows_something_whatever_its_bytes(tmp_path: Path):
    # Given a pattern that has next to no bytes, until it is shrunk
    source, target = tmp_path / "source", tmp_path / "target"
    tile = PIL.Image.frombytes("L", (7, 5), random.Random(1).randbytes(35)).convert("RGB")
    wall = PIL.Image.new("RGB", (608, 608))
    for at in range(0, 608 * 608, 35):
        wall.paste(tile, (at // 35 % 87 * 7, at // 35 // 87 * 5))
    pictures = [wall.crop((number, number, number + 600, number + 600)) for number in range(4)]
    source.write_bytes(saved("WEBP", *pictures, lossless=True, quality=100))

    images.make(source, {target: SMALLER})

    assert probe(target).frames == 4
    with PIL.Image.open(target) as made:
        assert len(made.convert("RGB").getcolors() or []) > 1


def pixel_art(number: int = 0) -> PIL.Image.Image:
    """A drawing in sixteen colours, flat or dithered, as of old games."""
    chance = random.Random(number)
    levels = (0, 84, 168, 252)
    colors = [(chance.choice(levels), chance.choice(levels), 84 * (n % 4)) for n in range(16)]
    picture = PIL.Image.new("RGB", (100, 100), colors[0])
    draw = PIL.ImageDraw.Draw(picture)
    for part, color in enumerate(colors):
        left, top = 25 * (part % 4), 25 * (part // 4)
        draw.rectangle((left + 4, top + 4, left + 12, top + 12), fill=color)
        for x in range(left, left + 24, 2):
            draw.point([(x, top + y) for y in range(20) if chance.random() < 0.5], fill=color)
    return picture


def dithered() -> PIL.Image.Image:
    """A gradient in five colours, as of old scanners."""
    gradient = PIL.Image.linear_gradient("L").resize((300, 300))
    picture = PIL.Image.merge("RGB", (gradient, gradient.rotate(90), gradient.rotate(180)))
    return picture.quantize(palette=picture.quantize(5))


PIXEL_ART: dict[str, Callable[[], bytes]] = {
    "dithered PNG": lambda: saved("PNG", dithered(), optimize=True),
    "GIF": lambda: saved("GIF", pixel_art().quantize(16, dither=0), optimize=True),
    "animated GIF": lambda: saved(
        "GIF", *(pixel_art(number).quantize(16, dither=0) for number in range(5))
    ),
    "animated WebP": lambda: saved("WEBP", *map(pixel_art, range(5)), lossless=True, quality=100),
    "dithered animated PNG": lambda: saved(
        "PNG", *(dithered().rotate(90 * number) for number in range(4))
    ),
}


@pytest.mark.parametrize("kind", PIXEL_ART)
def test_a_drawing_of_few_bytes_keeps_its_colours(tmp_path: Path, kind: str):
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(original := PIXEL_ART[kind]())

    width = round(0.9 * probe(source).width)

    images.make(source, {target: Image().fit(width, width)})

    assert target.stat().st_size <= len(original)
    assert probe(target).frames == probe(source).frames
    with PIL.Image.open(source) as wanted, PIL.Image.open(target) as made:
        for number in range(probe(source).frames):
            wanted.seek(number)
            made.seek(number)
            has = [color for _, color in made.convert("RGB").getcolors(1 << 16)]
            for _, color in wanted.convert("RGB").getcolors(1 << 16):
                assert any(max(map(abs, map(sub, color, other))) < 30 for other in has), color
