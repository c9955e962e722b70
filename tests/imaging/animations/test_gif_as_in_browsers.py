"""Odd GIFs, written by hand: what is made of them shows what Chromium 156 shows."""

from collections.abc import Callable
from pathlib import Path

import PIL.Image
import PIL.ImageDraw
import pytest

from gifster.imaging import Image
from gifster.imaging.errors import Unreadable
from gifster.imaging.frames import frames
from gifster.imaging.probe import probe
from tests import images
from tests.imaging.viewer import words

RED, GREEN, BLUE, WHITE = (255, 0, 0, 255), (0, 255, 0, 255), (0, 0, 255, 255), (255,) * 4
CLEAR = (0, 0, 0, 0)
COLORS = [RED, GREEN, BLUE, WHITE]


def gif(*blocks: bytes, screen: tuple[int, int] = (20, 20), background: int = 0) -> bytes:
    palette = b"".join(bytes(color[:3]) for color in COLORS)
    return b"GIF89a" + words(*screen) + bytes([0xF1, background, 0]) + palette + b"".join(blocks)


def control(disposal: int = 0, transparent: int | None = None) -> bytes:
    flags = disposal << 2 | (transparent is not None)
    return b"\x21\xf9\x04" + bytes([flags]) + words(5) + bytes([transparent or 0, 0])


def frame(color: int, box: tuple[int, int, int, int] = (0, 0, 20, 20), disposal: int = 0) -> bytes:
    """A frame of one colour; its box is left, top, width and height."""
    pixels = PIL.Image.new("L", box[2:], color)
    data = pixels.tobytes("gif", "L", 2, 0) if box[2] and box[3] else b"\x02\x44\x01"
    return control(disposal) + b"\x2c" + words(*box) + b"\0\2" + data + b"\0"


@pytest.fixture
def shown(tmp_path: Path) -> Callable[[bytes], list[PIL.Image.Image]]:
    """What is shown of a GIF: the poster if it is one picture, else each frame."""

    def shown(content: bytes) -> list[PIL.Image.Image]:
        source, poster = tmp_path / "source", tmp_path / "poster"
        source.write_bytes(content)
        info = probe(source)
        images.make(source, {poster: Image().first_frame().convert("png")})
        with PIL.Image.open(poster) as image:
            first = image.convert("RGBA")
        if info.frames == 1:
            return [first]
        pictures = [each.picture.convert("RGBA") for each in frames(source, info)]
        assert len(pictures) == info.frames
        assert pictures[0].tobytes() == first.tobytes()
        return pictures

    return shown


@pytest.mark.parametrize(
    ("screen", "box", "size"),
    [
        ((20, 20), (0, 0, 40, 30), (40, 30)),
        ((20, 20), (10, 10, 40, 30), (50, 40)),
        ((20, 20), (0, 0, 40, 10), (40, 20)),
        ((20, 20), (30, 30, 5, 5), (35, 35)),
        ((0, 0), (0, 0, 20, 10), (20, 10)),
        ((0, 20), (3, 0, 20, 10), (23, 20)),
    ],
)
def test_a_first_frame_larger_than_the_screen_enlarges_the_picture(
    shown, screen: tuple[int, int], box: tuple[int, int, int, int], size: tuple[int, int]
):
    later = frame(2, (1, 1, 300, 300))  # it does not

    one, two = shown(gif(frame(1, box), later, b";", screen=screen))

    assert one.size == two.size == size
    assert one.getpixel((size[0] - 1, box[1])) == GREEN
    assert two.getpixel((size[0] - 1, size[1] - 1)) == BLUE
    assert shown(gif(frame(1, box), b";", screen=screen))[0].size == size


def test_a_picture_larger_than_any_screen_is_refused(tmp_path: Path):
    source = tmp_path / "source"
    source.write_bytes(gif(frame(1, (65_500, 0, 40, 1)), b";"))

    with pytest.raises(Unreadable, match="beyond any picture"):
        probe(source)


def test_frames_that_are_larger_than_the_picture_take_no_more_memory(tmp_path: Path):
    # Given frames of a megapixel each, more of them than the sandbox has megabytes
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(gif(frame(0), *[frame(1, (0, 0, 1_000, 1_000))] * 300))

    images.make(source, {target: Image()})

    with PIL.Image.open(target) as made:
        assert made.size == (20, 20)
        made.seek(1)
        assert made.convert("RGBA").getpixel((5, 5)) == GREEN


def test_codes_beyond_the_palette_are_black_in_every_frame(tmp_path: Path):
    # Given a frame whose codes are longer than those of the frame before, with the same palette
    pixels = PIL.Image.new("L", (20, 20), 9)
    longer = b"\x2c" + words(0, 0, 20, 20) + b"\0\4" + pixels.tobytes("gif", "L", 4, 0) + b"\0"
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(gif(frame(0), control() + longer))

    images.make(source, {target: Image()})  # it is rewritten

    with PIL.Image.open(target) as made:
        made.seek(1)
        assert made.convert("RGBA").getpixel((5, 5)) == (0, 0, 0, 255)


@pytest.mark.parametrize("version", [b"GIF87a", b"GIF89a"])
def test_a_picture_is_transparent_where_no_frame_is(shown, version: bytes):
    still = gif(frame(1, (5, 5, 10, 10)), b";", background=2).replace(b"GIF89a", version)
    [picture] = shown(still)
    assert (picture.getpixel((2, 2)), picture.getpixel((7, 7))) == (CLEAR, GREEN)

    moving = gif(frame(1, (5, 5, 10, 10)), frame(2, (0, 0, 9, 9)), b";", background=2)
    _, second = shown(moving)
    assert [second.getpixel((at, at)) for at in (2, 12, 17)] == [BLUE, GREEN, CLEAR]


@pytest.mark.parametrize("disposal", range(8))
def test_every_disposal_method_is_what_browsers_take_it_for(shown, disposal: int):
    content = gif(frame(1), frame(2, (5, 5, 5, 5), disposal), frame(3, (0, 0, 2, 2)), b";")

    _, _, third = shown(content)

    after = {2: CLEAR, 3: GREEN, 4: GREEN}.get(disposal, BLUE)
    assert third.getpixel((6, 6)) == after
    assert (third.getpixel((1, 1)), third.getpixel((15, 15))) == (WHITE, GREEN)


def test_a_first_frame_is_restored_to_nothing(shown):
    _, second = shown(gif(frame(1, disposal=3), frame(2, (5, 5, 5, 5)), b";"))

    assert (second.getpixel((1, 1)), second.getpixel((6, 6))) == (CLEAR, BLUE)


@pytest.mark.parametrize("size", [(0, 0), (0, 20), (20, 0)])
def test_a_frame_without_pixels_shows_nothing(shown, size: tuple[int, int]):
    empty = frame(0, (0, 0, *size))

    first, second = shown(gif(empty, frame(2), b";"))
    [only] = shown(gif(empty, b";"))

    assert (first.getpixel((3, 3)), second.getpixel((3, 3))) == (CLEAR, BLUE)
    assert (only.size, only.getpixel((3, 3))) == ((20, 20), CLEAR)


@pytest.mark.parametrize(
    ("damage", "count"),
    [
        (b"\0", 1),
        (b"\x21\xf9\x03\0\5\0\0", 1),
        (b"\x21\xf9\x05\0\5\0\0\0\0", 1),
        (b"\x21\xfe\2hi\0", 3),
    ],
    ids=["NUL", "short control", "long control", "comment"],
)
def test_a_gif_ends_at_what_is_no_block(shown, damage: bytes, count: int):
    assert len(shown(gif(frame(1), damage, frame(2), frame(3), b";"))) == count
    if count == 1:
        with pytest.raises(Unreadable, match="first frame cannot be found"):
            shown(gif(damage, frame(2), b";"))


@pytest.mark.parametrize("bits", [9, 12, 255])
def test_a_first_frame_that_cannot_be_decoded_is_refused_at_once(tmp_path: Path, bits: int):
    source = tmp_path / "source"
    source.write_bytes(gif(frame(1).replace(b"\0\2", bytes([0, bits]), 1), b";"))

    with pytest.raises(Unreadable, match="cannot be decoded"):
        probe(source)


def loop(application: bytes = b"NETSCAPE2.0", data: bytes = b"\3\1\3\0") -> bytes:
    return b"\x21\xff\x0b" + application + data + b"\0"


@pytest.mark.parametrize(
    ("blocks", "plays"),
    [
        ([], None),
        ([loop(data=b"\3\1\0\0")], 0),
        ([loop()], 4),
        ([loop(b"ANIMEXTS1.0")], 4),
        ([loop(data=b"\3\1\xff\xff")], 65_536),
        ([loop(data=b"\3\1\0\0"), loop()], 4),  # the last one counts
        ([loop(data=b"\4\1\3\0\0")], None),
        ([loop(data=b"\2\1\3")], None),
        ([loop(data=b"\5\2\0\0\0\0")], None),  # the size of a buffer
        ([loop(b"NETSCAPE3.0")], None),
    ],
)
@pytest.mark.parametrize("is_late", [False, True])
def test_a_gif_plays_once_more_than_it_repeats(
    tmp_path: Path, blocks: list[bytes], plays: int | None, is_late: bool
):
    # Given a loop count before the first frame, or behind it
    source = tmp_path / "source"
    order = [frame(1), *blocks] if is_late else [*blocks, frame(1)]
    source.write_bytes(gif(*order, frame(2), b";"))

    info = probe(source)
    targets = {format: tmp_path / format for format in ("gif", "webp", "png")}
    recipes = {path: Image().fit(10, 10).convert(format) for format, path in targets.items()}
    images.make(source, recipes)

    # I expect each version to play as often
    assert info.loop == plays
    assert probe(targets["gif"]).loop == plays
    assert probe(targets["png"]).loop == (plays or (1 if plays is None else 0))
    assert probe(targets["webp"]).loop == min(65_535, plays or (1 if plays is None else 0))


def test_a_still_does_not_loop(tmp_path: Path):
    source = tmp_path / "source"
    source.write_bytes(gif(loop(), frame(1), b";"))

    assert probe(source).loop is None


@pytest.mark.parametrize("moves", [False, True])
def test_the_edge_of_a_transparent_gif_is_clean(tmp_path: Path, moves: bool):
    # Given a disc on a transparent background, of which the colour is white
    disc = PIL.Image.new("P", (200, 200), 0)
    PIL.ImageDraw.Draw(disc).ellipse((20, 20, 180, 180), fill=1)
    disc.putpalette([255, 255, 255, 200, 30, 30])
    source, target = tmp_path / "source", tmp_path / "target"
    options = {"save_all": True, "append_images": [disc.rotate(180)]} if moves else {}
    disc.save(source, "GIF", transparency=0, **options)

    images.make(source, {target: Image().fit(67, 67).first_frame()})

    with PIL.Image.open(target) as image:
        made = image.convert("RGBA")
    alphas = made.getchannel("A")
    opaque = [pixel for pixel in made.get_flattened_data() if pixel[3]]
    assert set(alphas.tobytes()) == {0, 255}
    # I expect neither a ring of the background, nor a disc of another size
    assert all(
        abs(a - b) < 30 for pixel in opaque for a, b in zip(pixel, (200, 30, 30), strict=False)
    )
    assert len(opaque) == pytest.approx(3.1416 * (80 / 3) ** 2, rel=0.03)
