"""What `bench.images` says of pictures: how far their colours are from those of the original."""

import numpy as np
import PIL.Image
import PIL.ImageDraw
import pytest

from bench import image_colors
from bench.image_quality import similarity

GREY, LILAC = (196, 190, 200), (200, 180, 232)


def slide(color: tuple[int, int, int]) -> PIL.Image.Image:
    """A light page with something small in a colour."""
    page = PIL.Image.linear_gradient("L").resize((200, 160)).convert("RGBA")
    PIL.ImageDraw.Draw(page).rectangle((80, 80, 103, 95), color)
    return page


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((50, 0, 0), (50, -1, 2), 2.3669),
        ((50, 2.49, -0.001), (50, -2.49, 0.0011), 7.2195),
        ((50, 2.5, 0), (73, 25, -18), 27.1492),
        ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
        ((90.8027, -2.0831, 1.4410), (91.1528, -1.6435, 0.0447), 1.4441),
    ],
)
def test_the_distance_of_colours_is_that_of_published_pairs(
    one: tuple[float, ...], other: tuple[float, ...], expected: float
):
    # Given pairs of Sharma, Wu and Dalal, of blues, greys, opposite hues, and dark and light ones
    found = image_colors.distances(np.array([one], float), np.array([other], float))

    assert found[0] == pytest.approx(expected, abs=5e-5)


def test_colours_of_a_screen_are_those_of_cielab():
    found = image_colors.lab(np.array([[255, 255, 255], [255, 0, 0], [0, 0, 0]], float))

    assert found == pytest.approx(np.array([[100, 0, 0], [53.2, 80.1, 67.2], [0, 0, 0]]), abs=0.1)


def test_a_small_lilac_that_became_grey_is_seen_where_ssim_sees_nothing():
    wanted, lost = slide(LILAC), slide(GREY)

    assert similarity([wanted], [lost]) > 0.999
    found = image_colors.difference([wanted], [lost])
    # I expect another colour in the 24 of 2,000 blocks that it covers
    assert found.other == pytest.approx(24 / 2000)
    assert found.high > 10


def test_dither_is_not_another_colour():
    # Given a lilac as a chequerboard of two colours
    drawn = slide(LILAC)
    board = PIL.Image.new("L", (24, 16))
    board.putdata([255 * ((x + y) % 2) for y in range(16) for x in range(24)])
    drawn.paste((220, 190, 252, 255), (80, 80, 104, 96))
    drawn.paste((180, 170, 212, 255), (80, 80), board)

    found = image_colors.difference([slide(LILAC)], [drawn])

    assert found.other == 0
    assert found.mean < 0.1
