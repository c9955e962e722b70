"""The steps of a recipe: crop, gravity, padding, enlarging and quality, for stills and animations.

Every format goes through the same planner. For animations, ffmpeg must show at every moment what
the source shows, cut, scaled and padded by Pillow.
"""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ImageChops

from gifster.imaging import Image, render_unsandboxed
from gifster.imaging.fingerprint import Fingerprint
from gifster.imaging.probe import probe
from tests import images
from tests.imaging.viewer import SIZE, assert_looks_like, decoded, drawn, side_by_side

BICUBIC = PIL.Image.Resampling.BICUBIC
RED, GREEN, BLUE, ORANGE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 136, 0)


def quarters(size: tuple[int, int] = (300, 200), mode: str = "RGB") -> PIL.Image.Image:
    """A picture of four quarters: red, green, blue, and white (or nothing)."""
    picture = PIL.Image.new(mode, size, (255, 255, 255, 0)[: len(mode)])
    halves = size[0] // 2, size[1] // 2
    for color, x, y in ((RED, 0, 0), (GREEN, halves[0], 0), (BLUE, 0, halves[1])):
        solid = (*color, 255)[: len(mode)]
        picture.paste(solid, (x, y, x + halves[0], y + halves[1]))
    return picture


def rendered(tmp_path: Path, content: bytes, recipe: Image) -> bytes:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(content)
    list(render_unsandboxed(source, probe(source), {target: recipe}))
    return target.read_bytes()


def still(tmp_path: Path, picture: PIL.Image.Image, recipe: Image) -> PIL.Image.Image:
    content = io.BytesIO()
    picture.save(content, "PNG")
    return PIL.Image.open(io.BytesIO(rendered(tmp_path, content.getvalue(), recipe)))


@pytest.mark.parametrize(
    ("recipe", "size"),
    [
        (Image().crop(100, 50, 70, 40), (100, 50)),
        # As far as the box lies on the picture (CarrierWave: "retains original image boundary")
        (Image().crop(300, 200, 140, 80), (160, 120)),
        (Image().crop(10, 10, 1000, 1000), (1, 1)),
        # After another step it is of the smaller picture
        (Image().fit(150, 150).crop(50, 50, 120, 70), (30, 30)),
        (Image().fill(600, 600), (200, 200)),
        (Image().fill(600, 600, enlarge=True), (600, 600)),
        (Image().fit(600, 600), (300, 200)),
        (Image().fit(600, 600, enlarge=True), (600, 400)),
        (Image().fit(150, None), (150, 100)),
        (Image().fit(None, 50), (75, 50)),
        (Image().fit(None, 400, enlarge=True), (600, 400)),
        (Image().pad(600, 600), (600, 600)),
        (Image().pad(50, 80, "white").pad(90, 90, "black").crop(80, 70, 5, 5), (80, 70)),
        (Image().pad(100, 100).fit(50, 50), (50, 50)),
        (Image().fit(1, 1, enlarge=True).pad(3, 3), (3, 3)),
    ],
)
def test_the_size_of_the_result(tmp_path: Path, recipe: Image, size: tuple[int, int]):
    assert still(tmp_path, quarters(), recipe).size == size
    animation = probe_of(tmp_path, rendered(tmp_path, images.gif((300, 200)), recipe))
    assert (animation.width, animation.height) == size


def probe_of(tmp_path: Path, content: bytes):
    (tmp_path / "made").write_bytes(content)
    return probe(tmp_path / "made")


def test_crop_keeps_its_box_and_gravity_its_side(tmp_path: Path):
    def colors(recipe: Image) -> list[tuple[int, ...]]:
        made = still(tmp_path, quarters(), recipe).convert("RGB")
        right, bottom = made.width - 1, made.height - 1
        return [made.getpixel(at) for at in ((0, 0), (right, 0), (0, bottom), (right, bottom))]

    white = (255, 255, 255)
    assert colors(Image().crop(150, 100, 150, 0)) == [GREEN] * 4
    assert colors(Image().crop(20, 20, 140, 90)) == [RED, GREEN, BLUE, white]
    assert colors(Image().fill(100, 200, "west")) == [RED, RED, BLUE, BLUE]
    assert colors(Image().fill(100, 200, "East")) == [GREEN, GREEN, white, white]
    assert colors(Image().fill(300, 50, "north")) == [RED, GREEN, RED, GREEN]
    assert colors(Image().fill(30, 5, "southwest")) == [BLUE, white, BLUE, white]
    assert colors(Image().fill(100, 200)) == [RED, GREEN, BLUE, white]


def test_a_canvas_that_shows_nothing_is_none(tmp_path: Path):
    # The picture fills it, so its bytes stay
    whole = images.still("PNG")
    assert rendered(tmp_path, whole, Image().pad(300, 200)) == whole
    assert Image().pad(300, 200, "white").changes(300, 200)  # it may be transparent


def test_padding_has_the_background_and_the_picture_its_side(tmp_path: Path):
    made = still(tmp_path, quarters(), Image().pad(200, 200, "#ff8800")).convert("RGB")
    assert made.getpixel((0, 0)) == made.getpixel((199, 199)) == ORANGE
    assert made.getpixel((0, 33)) == RED
    assert made.getpixel((0, 32)) == ORANGE

    corner = still(tmp_path, quarters(), Image().pad(200, 200, "black", "northwest"))
    assert corner.getpixel((0, 0)) == RED
    assert corner.getpixel((0, 134)) == (0, 0, 0)

    # Without a background it is transparent, and white in JPEG
    clear = still(tmp_path, quarters(), Image().pad(200, 200))
    assert clear.mode == "RGBA"
    assert clear.getpixel((0, 0))[3] == 0
    photo = still(tmp_path, quarters(), Image().pad(200, 200).convert("jpeg"))
    assert photo.getpixel((0, 0)) == (255, 255, 255)

    # A picture that is smaller lies on it in its own size, unless it is enlarged
    small = quarters((30, 20))
    assert still(tmp_path, small, Image().pad(60, 60, "black")).getpixel((0, 30)) == (0, 0, 0)
    large = still(tmp_path, small, Image().pad(60, 60, "black", enlarge=True))
    assert large.getpixel((0, 11)) == RED


def test_an_opaque_background_shows_through_a_transparent_picture(tmp_path: Path):
    holes = quarters(mode="RGBA")
    assert still(tmp_path, holes, Image().pad(200, 200, "#ff8800")).getpixel((199, 100)) == ORANGE
    assert still(tmp_path, holes, Image().pad(200, 200)).getpixel((199, 100))[3] == 0
    half = still(tmp_path, holes, Image().pad(200, 200, "#ff880080"))
    assert half.getpixel((0, 0)) == (*ORANGE, 128)
    # A crop of the canvas alone shows nothing of the picture
    bare = still(tmp_path, quarters(), Image().pad(60, 80, "black").crop(60, 10, 0, 2))
    assert bare.getcolors() == [(600, (0, 0, 0))]
    # Every canvas keeps its colour
    twice = still(tmp_path, quarters(), Image().pad(60, 60, "black").pad(80, 80, "#ff8800"))
    assert [twice.getpixel((25, y)) for y in (5, 15, 25)] == [ORANGE, (0, 0, 0), RED]


def padded(
    picture: PIL.Image.Image, size: tuple[int, int], at: tuple[int, int], color: tuple[int, ...]
) -> PIL.Image.Image:
    canvas = PIL.Image.new("RGBA", size, color)
    canvas.alpha_composite(picture, at)
    return canvas


#: A recipe, its size, and what Pillow makes of each frame of a source of 200×140 pixels.
ANIMATED: dict[str, tuple[Image, Callable[[PIL.Image.Image], PIL.Image.Image]]] = {
    "crop": (Image().crop(90, 60, 70, 50), lambda frame: frame.crop((70, 50, 160, 110))),
    "fill-gravity": (
        Image().fill(70, 70, "east"),
        lambda frame: frame.crop((60, 0, 200, 140)).resize((70, 70), BICUBIC),
    ),
    "fit-enlarged": (
        Image().fit(300, 300, enlarge=True), lambda frame: frame.resize((300, 210), BICUBIC)
    ),
    "fill-enlarged": (
        Image().fill(210, 210, enlarge=True),
        lambda frame: frame.crop((30, 0, 170, 140)).resize((210, 210), BICUBIC),
    ),
    "pad": (
        Image().pad(100, 100, gravity="south"),
        lambda frame: padded(frame.resize((100, 70), BICUBIC), (100, 100), (0, 30), (0, 0, 0, 0)),
    ),
    "pad-color": (
        Image().pad(120, 100, "#ff8800"),
        lambda frame: padded(
            frame.resize((120, 84), BICUBIC), (120, 100), (0, 8), (*ORANGE, 255)
        ),
    ),
    "pad-crop-enlarged": (
        Image().crop(100, 70, 50, 30).pad(200, 160, "navy", "north", enlarge=True),
        lambda frame: padded(
            frame.crop((50, 30, 150, 100)).resize((200, 140), BICUBIC),
            (200, 160), (0, 0), (0, 0, 128, 255),
        ),
    ),
    "crop-of-padding": (
        Image().pad(100, 100, "navy", "south").crop(100, 20),
        lambda frame: PIL.Image.new("RGBA", (100, 20), (0, 0, 128, 255)),
    ),
    "quality": (Image().quality(90), lambda frame: frame),
}  # fmt: skip


@pytest.mark.parametrize("holes", [True, False], ids=["holes", "solid"])
@pytest.mark.parametrize("step", ANIMATED)
def test_every_step_keeps_frames_delays_and_transparency(tmp_path: Path, step: str, holes: bool):
    # Given GIFs with partial frames, all methods of disposal, and transparency
    recipe, expected = ANIMATED[step]
    for seed in (3, 7):
        made = drawn(seed, holes=holes, disposals="0123" if holes else "013")
        source, target = tmp_path / "source", tmp_path / "target"
        source.write_bytes(made.content)

        # When I make the version, with others from the same decoding
        recipes = {target: recipe, tmp_path / "whole": Image().fit(190, 190)}
        list(render_unsandboxed(source, probe(source), recipes))

        # I expect a viewer to see what it sees in the source
        wanted = [(expected(frame), delay_ms) for frame, delay_ms in made.shown]
        size = wanted[0][0].size
        assert images.timing(target.read_bytes())[1] == images.timing(made.content)[1]
        for picture, right in side_by_side(decoded(target, size), wanted):
            assert_looks_like(picture, right)


def test_a_version_beside_a_padded_one_keeps_its_colors(tmp_path: Path):
    # Given versions of several sizes, some of them padded, from one decoding
    made = drawn(3, holes=False, disposals="1")
    source, target, small = tmp_path / "source", tmp_path / "target", tmp_path / "small"
    source.write_bytes(made.content)
    recipes = {
        small: Image().fit(50, 50).pad(60, 60, "#123456"),
        target: Image().fit(150, 150),
        tmp_path / "tiny": Image().fit(40, 40),
    }
    images.make(source, recipes)  # in the sandbox

    # I expect each to have the palette of its own pictures
    for picture, right in side_by_side(decoded(target, (150, 105)), made.shown):
        assert_looks_like(picture, right)
    for picture, _ in decoded(small, (60, 60)):
        assert picture.getpixel((0, 0)) == (0x12, 0x34, 0x56, 255)


@pytest.mark.parametrize("format", ["webp", "png", "mp4"])
def test_other_animated_formats_are_padded_too(tmp_path: Path, format: str):
    source = images.gif((300, 200), [50, 70, 90])
    made = rendered(tmp_path, source, Image().pad(100, 100, "#ff8800").convert(format))
    (tmp_path / "made").write_bytes(made)
    if format == "mp4":  # it has no transparency: the background makes the version possible
        info = probe(tmp_path / "made")
        assert (info.content_type, info.width, info.height) == ("video/mp4", 100, 100)
        return
    assert images.timing(made)[0] == [50, 70, 90]
    with PIL.Image.open(io.BytesIO(made)) as picture:
        for number in range(3):
            picture.seek(number)
            corner = picture.convert("RGB").getpixel((2, 2))
            assert max(abs(a - b) for a, b in zip(corner, ORANGE, strict=True)) < 8


def test_functions_get_the_padded_frame(tmp_path: Path):
    sizes = []
    recipe = Image().pad(80, 60, "white").apply(lambda frame: sizes.append(frame.size) or frame)
    rendered(tmp_path, images.gif((300, 200)), recipe)
    rendered(tmp_path, images.still("PNG"), recipe)
    assert set(sizes) == {(80, 60)}


def test_quality_saves_bytes(tmp_path: Path):
    noisy = images.noisy_gif((120, 90), 6)
    for content, format in (
        (images.still("JPEG"), "jpeg"),
        (images.still("PNG"), "webp"),
        (noisy, "gif"),
        (noisy, "webp"),
        (noisy, "mp4"),
    ):
        high, low = (
            len(rendered(tmp_path, content, Image().convert(format).quality(percent)))
            for percent in (95, 20)
        )
        assert low < high, format


def test_quality_encodes_a_picture_anew_that_keeps_its_size(tmp_path: Path):
    photo = images.still("JPEG")
    assert rendered(tmp_path, photo, Image()) == photo
    made = rendered(tmp_path, photo, Image().quality(30))
    with PIL.Image.open(io.BytesIO(made)) as image:
        assert (image.format, image.size) == ("JPEG", (300, 200))
    assert len(made) < len(photo)


def test_the_fingerprint_is_of_the_padded_original(tmp_path: Path):
    source = tmp_path / "source"
    quarters().save(source, "PNG")
    padded_file = tmp_path / "padded"
    recipe = Image().pad(300, 300, "#000080")
    prints = [
        made
        for made in render_unsandboxed(source, probe(source), {padded_file: recipe}, recipe)
        if isinstance(made, Fingerprint)
    ]
    again = [
        made
        for made in render_unsandboxed(padded_file, probe(padded_file), {})
        if isinstance(made, Fingerprint)
    ]
    assert prints[0].color == again[0].color == "#000080"
    assert bin(int(prints[0].dhash, 16) ^ int(again[0].dhash, 16)).count("1") <= 4


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: Image().crop(0, 5), "an image cannot have 0×5 pixels: both sides must be"),
        (lambda: Image().fit(None, None), r"fit\(None, None\) changes nothing: give at least one"),
        (lambda: Image().crop(5, 5, -1, 0), "a box cannot begin at -1, 0: both must be at least 0"),
        (lambda: Image().fill(5, 5, "middle"), "gravity is 'middle': use one of center, north"),
        (lambda: Image().pad(5, 5, "blurple"), "background is 'blurple': use a colour as in CSS"),
        (lambda: Image().quality(0), "quality is 0: use 1 to 100"),
    ],
)  # fmt: skip
def test_a_wrong_step_says_what_is_right(wrong: Callable[[], Image], message: str):
    with pytest.raises(ValueError, match=message):
        wrong()


def test_a_side_that_is_a_text_is_named():
    with pytest.raises(TypeError, match="a side is the text '60': give a number of pixels"):
        Image().fill("60", 40)


def test_an_enlarged_frame_has_the_pixels_of_the_enlarged_picture(tmp_path: Path):
    """A scaler enlarges only what changes, which must not be seen at the edges of the change."""
    frames = images.frames(SIZE, 3)
    source = images.saved(frames, tmp_path / "source")
    target = tmp_path / "target"
    recipe = Image().fit(400, 400, enlarge=True).convert("png")
    list(render_unsandboxed(source, probe(source), {target: recipe}))
    with PIL.Image.open(source) as before, PIL.Image.open(target) as after:
        for number in range(3):
            before.seek(number)
            after.seek(number)
            wanted = before.convert("RGB").resize((400, 280), BICUBIC)
            off = ImageChops.difference(after.convert("RGB"), wanted)
            assert max(high for _, high in off.getextrema()) <= 1


SIDES = st.integers(1, 700)
STEPS = st.one_of(
    st.tuples(st.just("fit"), SIDES, SIDES, st.booleans()),
    st.tuples(st.just("fill"), SIDES, SIDES, st.booleans()),
    st.tuples(st.just("pad"), SIDES, SIDES, st.booleans()),
    st.tuples(st.just("crop"), SIDES, SIDES, SIDES),
)


@settings(max_examples=100, deadline=None, database=None, derandomize=True)
@given(size=st.tuples(SIDES, SIDES), steps=st.lists(STEPS, max_size=5))
def test_every_plan_lies_within_its_picture_and_its_canvas(
    size: tuple[int, int], steps: list[tuple[str, int, int, Any]]
):
    recipe = Image()
    for name, width, height, option in steps:
        if name == "crop":
            recipe = recipe.crop(width, height, option, option // 2)
        else:
            recipe = getattr(recipe, name)(width, height, enlarge=option)

    plan = recipe.plan(*size)

    assert 0 <= plan.left < plan.right <= size[0]
    assert 0 <= plan.top < plan.bottom <= size[1]
    assert min(plan.width, plan.height, *plan.size) >= 1
    if plan.padding is not None:
        assert 0 <= plan.padding.x <= plan.padding.width - plan.width
        assert 0 <= plan.padding.y <= plan.padding.height - plan.height
    if steps:
        _, width, height, _ = steps[-1]
        assert plan.size[0] <= width
        assert plan.size[1] <= height
        if steps[-1][0] == "pad" or (steps[-1][0] == "fill" and steps[-1][3]):
            assert plan.size == (width, height)
    # A smaller copy of the source has the same plan, in its own pixels
    scaled = plan.scaled(0.5, 0.5)
    assert scaled.size == plan.size
    assert scaled.left <= plan.left
