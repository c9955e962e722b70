"""Palettes of GIF versions: as many colours as show, and each picture in the nearest of them."""

import math
import random
from dataclasses import replace
from operator import sub
from pathlib import Path
from typing import Any

import PIL.Image
import PIL.ImageDraw
import pytest
from PIL import ImageChops, ImageFilter, ImageOps, ImageStat

from gifster.imaging import Image, gif, gif_frames
from gifster.imaging.image_info import ImageInfo
from gifster.imaging.nearest import NearestColors
from gifster.imaging.palette import PaletteSamples
from gifster.imaging.patches import Patch, Recording
from gifster.imaging.probe import probe
from tests import images


def made(frames: list[PIL.Image.Image], folder: Path, size: tuple[int, int]) -> Path:
    source, target = images.saved(frames, folder / "source"), folder / "target"
    images.make(source, {target: Image().fit(*size)})
    return target


def first_of(target: Path) -> PIL.Image.Image:
    return next(gif_frames.frames(target, probe(target))).picture.convert("RGB")


def colors_of(palette: bytes) -> int:
    return len(palette) // 3


def sampled(picture: PIL.Image.Image) -> PaletteSamples:
    samples = PaletteSamples(ImageInfo("image/gif", *picture.size))
    samples.add(0, picture, picture, picture)
    return samples


@pytest.mark.parametrize(("side", "at"), [(14, 212), (10, 200), (12, 305)])
def test_a_small_picture_on_transparency_keeps_its_colour(side: int, at: int, tmp_path: Path):
    picture = PIL.Image.new("RGBA", (500, 500))
    picture.paste((255, 0, 0, 255), (at, at, at + side, at + side))

    gif.write_still(tmp_path / "target", picture)

    with PIL.Image.open(tmp_path / "target") as written:
        shown = written.convert("RGBA").getpixel((at + side // 2, at + side // 2))
    assert shown == (255, 0, 0, 255)


@pytest.mark.parametrize("value", [0, 3, 127, 128, 130, 253, 255])
def test_a_colour_of_the_palette_is_found_for_itself(value: int):
    # Given a palette whose other colours are nearer to the darkest colours around
    near = max(0, value - 5) if value > 5 else value + 7
    palette = bytes([near, value, near, value, value, value])

    found = NearestColors(palette).reduced(PIL.Image.new("RGB", (2, 2), (value,) * 3))

    assert found.getpixel((0, 0)) == (value, value, value)


def test_white_stays_white_beside_light_grey(tmp_path: Path):
    # Given a chart on white beside a light grey
    frames = []
    for number in range(4):
        chart = PIL.Image.new("RGB", (300, 200), "white")
        draw = PIL.ImageDraw.Draw(chart)
        draw.rectangle((0, 0, 99, 199), (250, 250, 250))
        draw.rectangle((200, 20 * number, 240, 180), (180, 30, 30))
        frames.append(chart)

    shown = first_of(made(frames, tmp_path, (150, 100)))

    assert shown.getpixel((80, 50)) == (255, 255, 255)
    assert shown.getpixel((20, 50)) == (250, 250, 250)


def test_a_grey_gradient_has_as_many_levels_as_it_shows(tmp_path: Path):
    gradient = PIL.Image.linear_gradient("L").resize((400, 300))
    frames = [gradient.rotate(turn).convert("RGB") for turn in (0, 2, 4)]

    shown = first_of(made(frames, tmp_path, (200, 150)))

    # I expect no bands of Pillow's four levels
    wanted = frames[0].resize((200, 150))
    off = [abs(shown.getpixel((100, y))[0] - wanted.getpixel((100, y))[0]) for y in range(150)]
    assert max(off) <= 2


def test_colours_are_for_what_is_smooth_and_not_for_edges():
    # Given a drawing of three colours whose edges have many shades, and a smooth sky
    large = PIL.Image.new("RGB", (1200, 1200), "black")
    draw = PIL.ImageDraw.Draw(large)
    for at in range(0, 1200, 160):
        draw.ellipse((at, at, at + 150, at + 140), (0, 255, 0))
        draw.ellipse((1100 - at, at, 1180 - at, at + 60), (92, 92, 92))
    drawing = large.resize((200, 200), PIL.Image.Resampling.BICUBIC)
    across, down = (PIL.Image.linear_gradient("L").rotate(turn) for turn in (0, 90))
    sky = PIL.Image.merge("RGB", (across, down, across.rotate(180))).resize((200, 200))

    few, many = (colors_of(sampled(each).palette(gif._EXACT.error)) for each in (drawing, sky))

    assert few <= 20
    assert many >= 60


def test_a_less_exact_palette_keeps_the_colours_of_a_small_part():
    # Given a black picture with a strip of many colours
    picture = PIL.Image.new("RGB", (240, 200), "black")
    down = PIL.Image.linear_gradient("L")
    strip = PIL.Image.merge("RGB", (down.rotate(90), down, down.rotate(270)))
    picture.paste(strip.resize((240, 20)), (0, 180))

    palette = sampled(picture).palette(gif._LESS_EXACT.error)

    assert colors_of(palette) >= 32


def test_a_film_that_may_not_outgrow_its_original_keeps_as_many_colours_as_fit(tmp_path: Path):
    # Given a grainy film that hardly shrinks, in which more colours are expected to fit than do
    chance, size, grain = random.Random(1), (160, 120), bytes(88 + at % 81 for at in range(256))
    shade = PIL.Image.linear_gradient("L").resize(size)
    colors = PIL.Image.merge("RGB", (shade, shade.rotate(180), shade.rotate(90)))
    film = []
    for number in range(8):
        noise = chance.randbytes(3 * size[0] * size[1]).translate(grain)
        noisy = PIL.Image.frombytes("RGB", size, noise)
        film.append(ImageChops.add(colors.rotate(3 * number), noisy, 1, -128).quantize(64))

    target = made(film, tmp_path, (156, 117))

    # I expect it to have some of them fewer, rather than to become rough
    most = (tmp_path / "source").stat().st_size
    assert 0.9 * most < target.stat().st_size <= most


def test_colours_that_are_there_for_a_moment_are_kept(tmp_path: Path):
    # Given a recording in greys, with clicks in four of its frames: a yellow, and pale colours that
    # are about as bright as the grey around them
    clicks = {5: (200, 190, 20), 12: (200, 180, 232), 19: (205, 185, 185), 26: (150, 160, 130)}
    shades = PIL.Image.linear_gradient("L").resize((400, 300)).convert("RGB")
    recording = [shades.copy() for _ in range(40)]
    for number, frame in enumerate(recording):
        draw = PIL.ImageDraw.Draw(frame)
        draw.rectangle((9 * number, 20, 9 * number + 20, 40), "white")
        if number in clicks:
            draw.ellipse((200, 200, 224, 224), clicks[number])

    target = made(recording, tmp_path, (200, 150))

    with PIL.Image.open(target) as image:
        for number, color in clicks.items():
            image.seek(number)
            shown = image.convert("RGB").getpixel((106, 106))
            assert max(map(abs, map(sub, shown, color))) <= 10, (color, shown)


def test_a_soft_shadow_keeps_its_levels(tmp_path: Path):
    # Given a dark window with text and three coloured buttons, and its shadow on white
    shadow = PIL.Image.new("L", (960, 600), 255)
    PIL.ImageDraw.Draw(shadow).rectangle((30, 36, 930, 570), 200)
    page = shadow.filter(ImageFilter.GaussianBlur(9)).convert("RGB")
    draw = PIL.ImageDraw.Draw(page)
    draw.rectangle((30, 30, 930, 560), (29, 29, 29))
    for at, color in ((50, (255, 95, 87)), (80, (255, 189, 46)), (110, (40, 202, 65))):
        draw.ellipse((at, 45, at + 18, 63), color)
    recording = []
    for number in range(6):
        for x in range(60, 860, 25):
            draw.text((x, 90 + 60 * number), chr(97 + x % 26), (220, 220, 220))
        recording.append(page.quantize(256))

    source, large = images.saved(recording, tmp_path / "source"), tmp_path / "large"
    images.make(source, {tmp_path / "small": Image().fit(200, 200), large: Image().fit(480, 480)})

    # I expect no level below the window to be off by much
    wanted = recording[0].convert("RGB").resize((480, 300), PIL.Image.Resampling.BICUBIC)
    below = (100, 283, 300, 300)
    off = ImageChops.difference(first_of(large).crop(below), wanted.crop(below))
    assert max(high for _, high in off.getextrema()) <= 6


def test_the_dots_of_a_chart_keep_their_hues(tmp_path: Path):
    # Given a light chart with text and dots in many browns, each in its own shade
    chance = random.Random(2)
    browns = [(250, 190, 120), (220, 130, 50), (140, 65, 15), (120, 60, 30), (245, 215, 175)]
    dots = []
    for number in range(24):
        one, other, part = *chance.sample(browns, 2), chance.random()
        color = tuple(round(a + (b - a) * part) for a, b in zip(one, other, strict=True))
        dots.append(((80 + 150 * (number % 6), 70 + 120 * (number // 6)), color))
    recording = []
    for number in range(6):
        chart = PIL.Image.new("RGB", (960, 600), (229, 229, 229))
        draw = PIL.ImageDraw.Draw(chart)
        for x in range(20, 940, 12):
            draw.text((x, 560 - 3 * number), chr(97 + x % 26), (60, 60, 60))
        for (x, y), color in dots:
            draw.ellipse((x - 16, y - 16, x + 16, y + 16), color)
        recording.append(chart)

    shown = first_of(made(recording, tmp_path, (480, 480)))

    off = [
        max(map(abs, map(sub, shown.getpixel((x // 2, y // 2)), color))) for (x, y), color in dots
    ]
    assert max(off) <= 14


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (2, 3), (199, 7), (333, 251)])
def test_pictures_of_any_size_have_samples(size: tuple[int, int]):
    picture = PIL.Image.new("RGB", size, (10, 20, 30))
    samples = PaletteSamples(ImageInfo("image/gif", *size, frames=12))
    for number in range(12):
        samples.add(number, picture, picture, picture)

    assert samples.palette(gif._EXACT.error)[:3] == bytes((10, 20, 30))


def test_a_gif_that_may_not_outgrow_its_original_has_most_of_what_it_may(tmp_path: Path):
    # Given a film that moves slowly, so that a great tolerance would leave little of it
    texture = random.Random(1)
    wide = ImageOps.autocontrast(
        PIL.Image.merge("RGB", [
            PIL.Image.frombytes("L", (160, 80), texture.randbytes(160 * 80)) for _ in range(3)
        ]).filter(ImageFilter.GaussianBlur(8))
    )  # fmt: skip
    pictures = [wide.crop((left, 0, left + 120, 80)) for left in range(8)]
    samples = PaletteSamples(replace(ImageInfo("image/gif", 120, 80), frames=8))
    with Recording() as recording:
        for number, picture in enumerate(pictures):
            samples.add(number, picture, picture, picture)
            recording.add(50, [Patch(picture, (0, 0, 120, 80))])
        track = recording.track(0, (120, 80))
        exact = gif.write(tmp_path / "target", track, 0, samples, math.inf)[-1]

        # When it may have 0.9 or 0.3 of its bytes
        for most in (0.9 * exact, 0.35 * exact, 0.3 * exact):
            made = gif.write(tmp_path / "target", track, 0, samples, math.inf, None, most)[-1]

            # I expect it to use them
            assert 0.75 * most < made <= most


def test_how_many_colours_are_needed_is_found_out_once(monkeypatch):
    # Given a picture of which several palettes are tried, as for a GIF over its budget
    gradient = PIL.Image.linear_gradient("L").resize((120, 80))
    samples = sampled(PIL.Image.merge("RGB", (gradient, gradient.rotate(90), gradient)))
    tried: list[int] = []
    quantize = PIL.Image.Image.quantize

    def noted(picture: PIL.Image.Image, colors: int = 256, *rest: Any, **options: Any) -> Any:
        tried.append(colors)
        return quantize(picture, colors, *rest, **options)

    monkeypatch.setattr(PIL.Image.Image, "quantize", noted)

    wanted = samples.palette(0.45, 60)
    first = tried.copy()
    fewer = samples.palette(0.45, 12)

    assert len(fewer) <= 3 * 12 < len(wanted)
    # I expect one more palette to be chosen, and no further number of colours to be tried
    counts = {8, 16, 32, 64, 128, 240}
    assert [colors for colors in first if colors in counts]
    assert not [colors for colors in tried[len(first) :] if colors in counts]


def test_colours_of_the_dark_are_told_apart(tmp_path: Path):
    # Given a dark picture of many colours, and two blacks that differ by two levels
    across, down = (PIL.Image.linear_gradient("L").rotate(turn) for turn in (90, 0))
    many = PIL.Image.merge("RGB", (across, down, across.rotate(90))).resize((240, 120))
    picture = PIL.Image.new("RGB", (240, 240), (0, 0, 0))
    picture.paste(many.point(lambda value: value // 3), (0, 0))
    picture.paste((2, 2, 2), (120, 120, 240, 240))

    gif.write_still(tmp_path / "target", picture)

    with PIL.Image.open(tmp_path / "target") as written:
        shown = written.convert("RGB")
    assert shown.getpixel((60, 200)) == (0, 0, 0)
    assert shown.getpixel((180, 200)) == (2, 2, 2)


def test_a_palette_has_the_colours_of_single_pixels():
    # Given a picture whose neighbouring pixels have other colours, the mean of which is grey
    chance = random.Random(2)
    grain = PIL.Image.frombytes("RGB", (400, 400), chance.randbytes(3 * 400 * 400))

    palette = sampled(grain).palette(gif._EXACT.error)

    off = ImageChops.difference(grain, NearestColors(palette).reduced(grain))
    assert max(ImageStat.Stat(off).mean) < 13


def test_a_film_that_is_a_little_too_large_loses_little(tmp_path: Path):
    # Given a film that has slightly more bytes than it may have
    across, down = (PIL.Image.linear_gradient("L").rotate(turn) for turn in (90, 0))
    colors = PIL.Image.merge("RGB", (across, down, across.rotate(90))).resize((200, 200))
    colors = colors.point(lambda value: value // 2 + 64)
    frames = [ImageChops.offset(colors, at, 2 * at) for at in range(12)]
    samples = PaletteSamples(ImageInfo("image/gif", 200, 200, frames=len(frames)))
    with Recording() as recording:
        for number, frame in enumerate(frames):
            samples.add(number, frame, frame, frame)
            recording.add(50, [Patch(frame, (0, 0, 200, 200))])
        track = recording.track(0, (200, 200))
        exact = gif.write(tmp_path / "exact", track, 0, samples, math.inf)[-1]
        most = exact * 0.99

        written = gif.write(tmp_path / "target", track, 0, samples, math.inf, None, most)[-1]

    # I expect it to have most of what it may
    assert 0.7 * most < written <= most
