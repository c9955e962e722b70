"""What keeps versions cheap and small: encodings that are given up, and parts that are left out."""

import math
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import PIL.Image
import PIL.ImageDraw
import pytest
from PIL.Image import Resampling

from gifster import imaging
from gifster.imaging import (
    Image,
    animation,
    apng,
    avif,
    gif,
    gif_frames,
    gif_quantizer,
    video,
    webp,
)
from gifster.imaging.image_info import ImageInfo
from gifster.imaging.palette import PaletteSamples
from gifster.imaging.patches import Patch, Recording
from gifster.imaging.probe import probe
from gifster.imaging.scaler import Scaler
from gifster.imaging.yuv import YuvCanvas
from tests import images


def rendered(source: Path, recipes: dict[Path, Image], **options: Any) -> list[Path]:
    made = imaging.render_unsandboxed(source, probe(source), recipes, Image(), **options)
    return [path for path in made if isinstance(path, Path)]


def plane_bytes(canvas: YuvCanvas) -> list[bytes]:
    width = canvas.size[0]
    return list(canvas.planes([width, width // 2, width // 2]))


@pytest.mark.parametrize("size", [(40, 30), (41, 31)])
def test_a_changed_box_of_a_film_is_converted_as_the_whole_picture_would_be(size: tuple[int, int]):
    before, after = images.frames(size, 2)
    changed = PIL.Image.new("RGB", size)
    changed.paste(before)
    box = (7, 3, 26, 29)
    changed.paste(after.crop(box), box)
    canvas, whole = (YuvCanvas(size, keeps_transparency=False) for _ in range(2))

    canvas.paint(before, (0, 0, *size))
    canvas.paint(changed, box)

    whole.paint(changed, (0, 0, *size))
    assert plane_bytes(canvas) == plane_bytes(whole)


def test_colours_of_a_film_are_those_of_bt_601():
    canvas = YuvCanvas((2, 2), keeps_transparency=False)
    for color, yuv in (
        ("white", (235, 128, 128)), ("black", (16, 128, 128)), ("red", (81, 90, 240)),
        ("lime", (145, 54, 34)), ("blue", (41, 240, 110)),
    ):  # fmt: skip
        canvas.paint(PIL.Image.new("RGB", (2, 2), color), (0, 0, 2, 2))
        assert tuple(plane[0] for plane in plane_bytes(canvas)) == yuv


@pytest.mark.parametrize(
    ("size", "filter"), [((60, 45), Resampling.BICUBIC), ((20, 15), Resampling.HAMMING)]
)
def test_a_transparent_gif_is_shrunk_as_pillow_does_it_but_not_multiplied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], filter: Resampling
):
    # Given a GIF of noise, of which one of eight bright colours is transparent
    generator, source = random.Random(1), tmp_path / "source"
    noise = [
        PIL.Image.frombytes("P", (80, 60), bytes(generator.choices(range(8), k=80 * 60)))
        for _ in range(2)
    ]
    for picture in noise:
        picture.putpalette(bytes(generator.choices(range(90, 256), k=3 * 8)))
    noise[0].putpixel((0, 0), 0)
    noise[0].save(source, "GIF", save_all=True, append_images=noise[1:], transparency=3, disposal=2)
    info = probe(source)
    scaler = Scaler(Image().fit(*size).plan(*noise[0].size), (), info, None)
    convert, converted = PIL.Image.Image.convert, list[Any]()

    def noted(picture: PIL.Image.Image, mode: Any = None, *options: Any, **named: Any) -> Any:
        converted.append((picture.size, mode))
        return convert(picture, mode, *options, **named)

    for number, frame in enumerate(gif_frames.frames(source, info)):
        assert frame.picture.mode == "RGBA"
        assert frame.picture.getchannel("A").getextrema() == (0, 255)
        wanted = frame.picture.resize(size, filter)
        converted.clear()

        # When a frame is shrunk
        with monkeypatch.context() as patched:
            patched.setattr(PIL.Image.Image, "convert", noted)
            made = scaler.patch(number, frame).picture

        # I expect the same pixels, and that only the small picture was converted
        assert made is not None
        assert made.tobytes() == wanted.tobytes()
        assert converted == [(size, "RGBA")]


def test_a_webm_is_given_up_when_it_will_be_larger_than_the_mp4(tmp_path: Path, monkeypatch):
    # Given 40 pictures of which the first 10 are alike
    source = images.saved(images.frames((60, 40), 40), tmp_path / "source")
    mp4, webm, counted = tmp_path / "mp4", tmp_path / "webm", []
    recipes = {mp4: Image().convert("mp4"), webm: Image().convert("webm")}
    count = video._count

    def noted(packets: list[Any], sizes: list[int]) -> None:
        count(packets, sizes)
        counted.append(len(sizes))

    # When an MP4 has few bytes, or as many as the WebM has
    monkeypatch.setattr(video, "_count", noted)
    assert rendered(source, recipes) == [mp4, webm]
    full = video.write(webm, "video/webm", track := _track(source), None)
    assert full is not None
    assert len(full) == 40

    # I expect it to be given up early in one case only
    counted.clear()
    assert video.write(webm, "video/webm", track, None, [size // 2 for size in full]) is None
    assert counted[-1] < 10
    assert video.write(webm, "video/webm", track, None, [size + 1 for size in full]) == full
    # … and nothing to be left of it, nor of one of which nothing was written yet
    webm.unlink()
    monkeypatch.setattr(video, "_is_lost", lambda sizes, rival: True)
    assert rendered(source, recipes, smaller_than={webm: mp4}) == [mp4]
    assert not webm.exists()


def test_a_film_that_would_have_too_many_bytes_is_given_up_early(tmp_path: Path, monkeypatch):
    source, target, counted = tmp_path / "source", tmp_path / "target", []
    source.write_bytes(images.noisy_gif((60, 40), 40))
    track, count = _track(source), video._count

    def noted(packets: list[Any], sizes: list[int]) -> None:
        count(packets, sizes)
        counted.append(len(sizes))

    full = video.write(target, "video/mp4", track)
    assert full is not None
    monkeypatch.setattr(video, "_count", noted)

    # When it may have three quarters of its bytes
    assert video.write(target, "video/mp4", track, None, None, 0.75 * full[-1]) is None

    # I expect that to be known before half of its pictures, and not to be said of a smaller one
    assert counted[-1] < 20
    assert video.write(target, "video/mp4", track, None, None, full[-1]) == full


def test_a_gif_of_another_size_tells_early_that_a_gif_is_too_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    # Given a recording that hardly changes at first, though all of it is drawn, and in two sizes
    sizes, added = ((40, 30), (120, 90)), list[Any]()
    with Recording() as recording:
        still = PIL.Image.effect_noise(sizes[1], 90).convert("RGB")
        samples = PaletteSamples(replace(ImageInfo("image/gif", *sizes[1]), frames=40))
        for number in range(40):
            moves = number >= 20
            shown = PIL.Image.effect_noise(sizes[1], 90).convert("RGB") if moves else still.copy()
            shown.putpixel((number, 0), (255, 0, 0))
            pictures = [shown.resize(size) for size in sizes]
            samples.add(number, *pictures[:1] * 2, shown)
            recording.add(50, [Patch(made, (0, 0, *made.size)) for made in pictures])
        tracks = [recording.track(number, size) for number, size in enumerate(sizes)]
        other = gif.write(tmp_path / "small", tracks[0], 0, samples, math.inf)
        full = gif.write(tmp_path / "large", tracks[1], 0, samples, math.inf)[-1]
        add_patch = gif_quantizer.GifQuantizer.add_patch

        def noted(writer: Any, patch: Patch, delay_cs: int) -> None:
            added.append(writer)
            add_patch(writer, patch, delay_cs)

        monkeypatch.setattr(gif_quantizer.GifQuantizer, "add_patch", noted)

        # When the larger may have 0.7 of its bytes, without and with what the smaller tells
        frames = []
        for known in (None, other):
            added.clear()
            target, most = tmp_path / "large", 0.7 * full
            assert gif.write(target, tracks[1], 0, samples, math.inf, None, most, known)[-1] <= most
            frames.append(added.count(added[0]))

    # I expect the first try to be given up when little of what moves is written
    assert frames[0] > 30
    assert frames[1] < 25


def test_a_film_that_soon_stands_still_is_not_given_up(tmp_path: Path):
    # Given ten pictures of noise, of which the last one stays but for a dot
    generator, recording = random.Random(1), Recording()
    for _ in range(10):
        noise = PIL.Image.frombytes("RGB", (60, 40), generator.randbytes(60 * 40 * 3))
        recording.add(50, [Patch(noise, (0, 0, 60, 40))])
    for number in range(30):
        dot = PIL.Image.new("RGB", (2, 2), "red" if number % 2 else "blue")
        recording.add(50, [Patch(dot, (0, 0, 2, 2))])
    target, track = tmp_path / "target", recording.track(0, (60, 40))

    full = video.write(target, "video/mp4", track)

    assert full is not None
    assert video.write(target, "video/mp4", track, None, None, full[-1]) == full


def _track(source: Path) -> Any:
    recording = Recording()
    with PIL.Image.open(source) as image:
        for number in range(40):
            image.seek(number)
            picture = image.convert("RGB")
            recording.add(50, [Patch(picture, (0, 0, *picture.size))])
    return recording.track(0, (60, 40))


def test_a_film_of_dithering_is_rougher_if_it_is_larger_than_the_gif(tmp_path: Path, monkeypatch):
    source = tmp_path / "source"
    source.write_bytes(images.noisy_gif((160, 120), 8))
    gif, mp4, qualities = tmp_path / "gif", tmp_path / "mp4", []
    write = video.write

    def noted(target: Path, content_type: str, track: Any, quality: Any, *others: Any) -> Any:
        qualities.append(quality)
        return write(target, content_type, track, quality, *others)

    # Given films of which each picture takes more bytes than the GIF has
    monkeypatch.setattr(video, "write", noted)
    monkeypatch.setattr(video, "_is_over", lambda sizes, most: bool(sizes) and most < math.inf)
    rendered(source, {gif: Image(), mp4: Image().convert("mp4")})
    assert qualities == [None, 60]
    assert mp4.stat().st_size > 0

    # But not if the recipe says how good it is
    qualities.clear()
    rendered(source, {gif: Image(), mp4: Image().quality(90).convert("mp4")})
    assert qualities == [90]


def test_a_picture_that_is_too_wide_for_a_format_is_left_out(tmp_path: Path):
    source = images.saved([PIL.Image.new("RGB", (16_400, 2), "red")], tmp_path / "source", "PNG")
    wide, narrow, png = tmp_path / "wide", tmp_path / "narrow", tmp_path / "png"
    recipes = {
        wide: Image().convert("webp"),
        narrow: Image().fit(16_383, 2).convert("webp"),
        png: Image(),
    }

    assert sorted(rendered(source, recipes)) == sorted([narrow, png])
    assert not wide.exists()


def test_a_gif_that_will_exceed_its_budget_is_given_up_early(tmp_path: Path, monkeypatch):
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(images.noisy_gif((160, 120), 24))
    tries: list[int] = []
    begin, add_patch = gif_quantizer.GifQuantizer.begin, gif_quantizer.GifQuantizer.add_patch

    def begun(self: Any, plays: int) -> None:
        tries.append(0)
        begin(self, plays)

    def added(self: Any, *arguments: Any) -> None:
        tries[-1] += 1
        add_patch(self, *arguments)

    monkeypatch.setattr(animation, "_BUDGET_FACTOR", 0.3)
    monkeypatch.setattr(gif_quantizer.GifQuantizer, "begin", begun)
    monkeypatch.setattr(gif_quantizer.GifQuantizer, "add_patch", added)
    rendered(source, {target: Image().fit(150, 150)})

    assert len(tries) > 1
    assert tries[0] < 12
    assert tries[-1] == 24
    assert target.stat().st_size <= source.stat().st_size


def test_an_opaque_gif_is_composed_in_rgb_whatever_its_frames_leave_out(tmp_path: Path):
    # Given frames that leave out what does not change, as optimizers write them
    frames = images.frames((60, 40), 4)
    source = images.saved(frames, tmp_path / "source")
    small = tmp_path / "small"
    rendered(source, {small: Image()})

    info = probe(small)
    assert any(frame.transparent is not None for frame, _ in gif_frames.decoded(small))
    assert {frame.picture.mode for frame in gif_frames.frames(small, info)} == {"RGB"}


@pytest.mark.parametrize("format", ["WEBP", "PNG", "AVIF"])
def test_a_long_animation_that_outgrows_its_original_is_encoded_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: str
):
    # Given one whose pattern has next to no bytes, until it is shrunk
    source, target, written = tmp_path / "source", tmp_path / "target", []
    tile = PIL.Image.effect_noise((7, 5), 200).convert("RGB")
    wall = PIL.Image.new("RGB", (308, 308))
    for at in range(0, 308 * 308, 35):
        wall.paste(tile, (at // 35 % 44 * 7, at // 35 // 44 * 5))
    pictures = [wall.crop((number, number, number + 300, number + 300)) for number in range(4)]
    options: Any = {"lossless": True} if format == "WEBP" else {"quality": 1}
    pictures[0].save(source, format, save_all=True, append_images=pictures[1:], **options)
    module: Any = {"WEBP": webp, "PNG": apng, "AVIF": avif}[format]
    write = module.write

    def noted(*arguments: Any) -> None:
        written.append(arguments)
        write(*arguments)

    # When it counts as long
    monkeypatch.setattr(module, "write", noted)
    monkeypatch.setattr(animation, "_LONG", 0)
    assert rendered(source, {target: Image().fit(220, 220)}) == [target]

    assert len(written) <= 2
    assert probe(target).frames == 4
