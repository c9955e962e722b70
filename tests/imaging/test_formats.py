"""Formats beside GIF: MP4 and WebP made of animations, decoded by ffmpeg; AVIF, profiles and
orientation read; and what images look like from afar."""

import io
import random
import re
import subprocess
from pathlib import Path

import imageio_ffmpeg
import PIL.Image
import PIL.ImageCms
import PIL.ImageDraw
import pytest
from PIL import ImageChops, ImageStat

from gifster import imaging
from gifster.imaging import Image, mp4
from gifster.imaging.errors import Truncated, Unreadable
from gifster.imaging.fingerprint import Fingerprint
from gifster.imaging.probe import probe
from tests import images

DELAYS = [30, 50, 990, 20, 400]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(images.gif((301, 201), DELAYS))
    return path


def ffmpeg(*arguments: str | Path) -> bytes:
    done = subprocess.run(
        [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *map(str, arguments)],
        capture_output=True, check=True,
    )  # fmt: skip
    return done.stdout


def film(path: Path, size: tuple[int, int]) -> list[PIL.Image.Image]:
    """What ffmpeg shows of a film each hundredth of a second."""
    raw = ffmpeg("-i", path, "-vf", "fps=100", "-pix_fmt", "rgb24", "-f", "rawvideo", "-")
    step = size[0] * size[1] * 3
    return [
        PIL.Image.frombytes("RGB", size, raw[at : at + step]) for at in range(0, len(raw), step)
    ]


def off(one: PIL.Image.Image, other: PIL.Image.Image) -> float:
    """By how much two pictures differ, on average (0 to 255)."""
    difference = ImageChops.difference(one.convert("RGB"), other.convert("RGB"))
    return max(ImageStat.Stat(difference).mean)


def test_an_mp4_shows_each_frame_as_long_as_the_gif_does(source: Path, tmp_path: Path):
    target = tmp_path / "target"

    assert images.make(source, {target: Image().convert("mp4")}) == [target]

    # I expect a pixel to be left out of odd sides, and every frame at its time
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
    assert max(off(one, other) for one, other in zip(shown, frames, strict=True)) < 4
    # … and what is needed to begin to come first
    assert target.read_bytes().index(b"moov") < target.read_bytes().index(b"mdat")


@pytest.mark.parametrize("size", [(1, 30), (30, 1), (2, 3)])
def test_an_mp4_may_be_tiny(tmp_path: Path, size: tuple[int, int]):
    source, target = tmp_path / "source", tmp_path / "target"
    frames = [PIL.Image.new("RGB", size, color) for color in ("red", "blue", "red")]
    frames[0].save(source, "GIF", save_all=True, append_images=frames[1:], duration=50)

    images.make(source, {target: Image().convert("mp4")})

    even = tuple(max(2, side - side % 2) for side in size)
    assert (probe(target).width, probe(target).height) == even
    assert off(film(target, even)[7].crop((0, 0, 1, 1)), PIL.Image.new("RGB", (1, 1), "blue")) < 40


def test_what_an_mp4_cannot_show_is_not_made(source: Path, tmp_path: Path, monkeypatch):
    target, other = tmp_path / "target", tmp_path / "other"
    clear, still = tmp_path / "clear", tmp_path / "still"
    frames = images.frames((60, 40), 3, mode="RGBA")
    frames[1].paste((0, 0, 0, 0), (0, 0, 20, 20))
    frames[0].save(clear, "GIF", save_all=True, append_images=frames[1:], disposal=2)
    still.write_bytes(images.still("PNG"))
    recipes = {target: Image().convert("mp4"), other: Image().fit(50, 50)}

    # Transparency, stills; and nothing where PyAV is not there
    assert images.make(clear, recipes) == [other]
    assert images.make(still, recipes) == [other]
    monkeypatch.setattr(mp4, "is_available", lambda: False)
    assert target not in list(imaging.render_unsandboxed(source, probe(source), recipes, Image()))
    assert not target.exists()


@pytest.mark.parametrize("loop", [None, 0, 1, 3])
def test_a_webp_keeps_frames_delays_and_loop(tmp_path: Path, loop: int | None):
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(images.gif((400, 300), DELAYS, loop))

    images.make(source, {target: Image().fit(100, 100).convert("webp")})

    # WebP says how often it plays in all
    assert images.timing(target.read_bytes()) == (DELAYS, 1 if loop is None else loop)
    with PIL.Image.open(target) as made, PIL.Image.open(source) as gif:
        for number in range(len(DELAYS)):
            made.seek(number)
            gif.seek(number)
            wanted = gif.convert("RGB").resize((100, 75), PIL.Image.Resampling.LANCZOS)
            assert off(made, wanted) < 4


@pytest.mark.parametrize("format", ["PNG", "WEBP", "AVIF"])
def test_what_is_no_gif_keeps_its_delays_to_the_ms(tmp_path: Path, format: str):
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(images.animated(format, [16, 17, 17, 233, 60_001]))

    images.make(source, {target: Image().fit(100, 100)})

    delays, loop = images.timing(target.read_bytes())
    assert delays[:4] == [16, 17, 17, 233]
    assert delays[4] == pytest.approx(60_001, abs=10)
    assert loop == (None if format == "AVIF" else 2)


def test_a_webp_keeps_soft_edges_and_holes(tmp_path: Path):
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


def test_versions_are_ready_in_the_order_in_which_they_are_asked_for(source: Path, tmp_path: Path):
    recipes = {
        tmp_path / "small": Image().fit(50, 50),
        tmp_path / "film": Image().convert("mp4"),
        tmp_path / "poster": Image().first_frame().convert("webp"),
        tmp_path / "large": Image().fit(200, 200),
    }

    made = [path.name for path in images.make(source, recipes)]

    # A still takes no time, and comes first
    assert made == ["poster", "small", "film", "large"]


@pytest.mark.parametrize("count", [1, 3])
def test_avif_is_read(tmp_path: Path, count: int):
    source, target = tmp_path / "source", tmp_path / "target"
    frames = images.frames((300, 200), count)
    frames[0].save(source, "AVIF", save_all=True, append_images=frames[1:], duration=70, speed=10)

    info = probe(source)
    images.make(source, {target: Image().fit(100, 100).convert("gif")})

    assert (info.content_type, info.width, info.height, info.frames) == (
        "image/avif", 300, 200, count
    )  # fmt: skip
    assert info.duration_ms == (70 * count if count > 1 else 0)
    assert (probe(target).width, probe(target).frames) == (100, count)
    with PIL.Image.open(target) as made:
        assert off(made, frames[0].resize((100, 67), PIL.Image.Resampling.LANCZOS)) < 6


def test_an_avif_that_moves_stays_one(tmp_path: Path):
    source, target = tmp_path / "source", tmp_path / "target"
    frames = images.frames((300, 200), 3)
    frames[0].save(source, "AVIF", save_all=True, append_images=frames[1:], duration=70, speed=10)

    images.make(source, {target: Image().fit(100, 100)})

    made = probe(target)
    assert (made.content_type, made.width, made.frames, made.duration_ms) == (
        "image/avif", 100, 3, 210
    )  # fmt: skip


def test_avif_that_is_turned_tells_the_size_that_is_seen(tmp_path: Path):
    source, target = tmp_path / "source", tmp_path / "target"
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    images.frames((300, 200), 1)[0].save(source, "AVIF", exif=exif, speed=10)

    images.make(source, {target: Image().fit(100, 100)})

    assert (probe(source).width, probe(source).height) == (200, 300)
    assert images.size(target.read_bytes()) == (67, 100)


def test_avif_that_ends_early_or_is_damaged_is_refused(tmp_path: Path):
    source = tmp_path / "source"
    buffer = io.BytesIO()
    images.frames((300, 200), 1)[0].save(buffer, "AVIF", speed=10)
    content = buffer.getvalue()

    source.write_bytes(content[: len(content) // 2])
    with pytest.raises(Truncated):
        probe(source)
    source.write_bytes(content.replace(b"ispe", b"nope"))
    with pytest.raises(Unreadable):
        probe(source)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_a_picture_that_is_turned_tells_the_size_that_is_seen(tmp_path: Path, format: str):
    source = tmp_path / "source"
    exif = PIL.Image.Exif()
    exif[0x0112] = 8
    images.frames((300, 200), 1)[0].save(source, format, exif=exif)

    assert (probe(source).width, probe(source).height) == (200, 300)


def test_an_animated_webp_that_is_turned_is_planned_by_the_size_that_is_seen(tmp_path: Path):
    source, target = tmp_path / "source", tmp_path / "target"
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    frames = images.frames((300, 200), 3)
    frames[0].save(source, "WEBP", save_all=True, append_images=frames[1:], exif=exif)

    images.make(source, {target: Image().fit(150, 150).convert("gif")})

    assert (probe(target).width, probe(target).height, probe(target).frames) == (100, 150, 3)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_colours_are_as_the_profile_says(tmp_path: Path, format: str):
    # Given a profile whose red is blue
    source, target = tmp_path / "source", tmp_path / "target"
    profile = PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("sRGB")).tobytes()
    swapped = profile.replace(b"rXYZ", b"????").replace(b"bXYZ", b"rXYZ").replace(b"????", b"bXYZ")
    PIL.Image.new("RGB", (300, 200), (200, 100, 20)).save(source, format, icc_profile=swapped)

    images.make(source, {target: Image().fit(100, 100)})

    with PIL.Image.open(target) as made:
        assert off(made, PIL.Image.new("RGB", made.size, (20, 100, 200))) < 8
        assert "icc_profile" not in made.info


def test_a_profile_that_is_none_is_passed_over(tmp_path: Path):
    source, target = tmp_path / "source", tmp_path / "target"
    PIL.Image.new("RGB", (300, 200), (10, 200, 30)).save(source, "PNG", icc_profile=b"nonsense")

    images.make(source, {target: Image().fit(100, 100)})

    with PIL.Image.open(target) as made:
        assert made.convert("RGB").getpixel((5, 5)) == (10, 200, 30)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_metadata_goes_even_where_the_picture_is_not_made_smaller(tmp_path: Path, format: str):
    source, target = tmp_path / "source", tmp_path / "target"
    exif = PIL.Image.Exif()
    exif[0x010E] = "at home"
    picture = images.frames((80, 60), 1)[0]
    picture.save(source, format, exif=exif)
    assert b"at home" in source.read_bytes()

    images.make(source, {target: Image().fit(100, 100)})

    assert b"at home" not in target.read_bytes()
    assert images.size(target.read_bytes()) == (80, 60)
    # … and without any the bytes are kept
    picture.save(source, format)
    images.make(source, {target: Image().fit(100, 100)})
    assert target.read_bytes() == source.read_bytes()


# What images look like from afar.


def fingerprint(source: Path) -> Fingerprint:
    rendered = imaging.render(source, probe(source), {}, Image())
    return next(made for made in rendered if isinstance(made, Fingerprint))


def distance(one: Fingerprint, other: Fingerprint) -> int:
    return (int(one.dhash, 16) ^ int(other.dhash, 16)).bit_count()


def scene(seed: int) -> list[PIL.Image.Image]:
    """A film of some discs; it begins black."""
    chance = random.Random(seed)
    discs = [(chance.randrange(400), chance.randrange(300), chance.randrange(30, 120),
              chance.choice(["white", "orange", "navy", "teal"])) for _ in range(9)]  # fmt: skip
    frames = [PIL.Image.new("RGB", (400, 300))]
    for number in range(11):
        frame = PIL.Image.new("RGB", (400, 300), "grey")
        for x, y, radius, color in discs:
            at = x + 2 * number
            box = (at - radius, y - radius, at + radius, y + radius)
            PIL.ImageDraw.Draw(frame).ellipse(box, fill=color)
        frames.append(frame)
    return frames


def saved(frames: list[PIL.Image.Image], path: Path, format: str = "GIF") -> Path:
    frames[0].save(path, format, save_all=True, append_images=frames[1:], duration=50)
    return path


def test_the_same_film_smaller_and_in_another_format_looks_alike(tmp_path: Path):
    frames = scene(1)
    smaller = [frame.resize((200, 150), PIL.Image.Resampling.LANCZOS) for frame in frames]

    one = fingerprint(saved(frames, tmp_path / "one"))
    other = fingerprint(saved(smaller, tmp_path / "other", "WEBP"))

    assert distance(one, other) <= 3


def test_a_webp_that_would_be_larger_than_it_may_be_is_given_up(tmp_path: Path):
    # Given words that come one after the other, of which a GIF is smaller, and a film
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

    assert made(saved(words, tmp_path / "words"), {webp: gif}) == [gif]
    assert made(saved(film, tmp_path / "film"), {webp: gif}) == [gif, webp]
    # Who asks for it whatever it weighs gets it
    assert made(tmp_path / "words", {}) == [gif, webp]
    assert webp.stat().st_size > gif.stat().st_size
    # Likewise beside a GIF that keeps its bytes
    small = gif.rename(tmp_path / "small")
    webp.unlink()
    recipes = {gif: Image(), webp: Image().convert("webp")}
    assert made(small, {webp: gif}) == [gif]
    assert gif.read_bytes() == small.read_bytes()


def test_different_films_do_not_look_alike(tmp_path: Path):
    fingerprints = [fingerprint(saved(scene(seed), tmp_path / f"{seed}")) for seed in range(6)]

    distances = [
        distance(one, other) for at, one in enumerate(fingerprints) for other in fingerprints[:at]
    ]
    assert min(distances) > 10


def test_where_there_is_nothing_to_see_the_hash_says_so(tmp_path: Path):
    PIL.Image.new("RGB", (300, 200), (10, 200, 30)).save(tmp_path / "flat", "PNG")

    seen = fingerprint(tmp_path / "flat")

    assert seen.dhash == "0" * 16
    assert re.fullmatch(r"#0[89a]c[78][12][ef]", seen.color)
