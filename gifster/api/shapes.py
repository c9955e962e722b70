"""The shapes of pictures in the gallery, as classes of `gifster.css`: the security policy forbids
styles in the text of a page.

A column has rows of a fortieth of its width, and a card spans as many as its picture is high.
"""

from markupsafe import Markup

from gifster.api import schemas

#: Flatter and taller pictures leave a margin in their cards.
FLATTEST, TALLEST = 13, 80
#: A flatter card has room for its title, and for no tags.
ROOM_FOR_TAGS = 18
#: The shape of a card without a picture.
BLANK = "s30"


def shape(picture: schemas.Image | schemas.Version | None) -> str:
    """The classes of a card with this picture."""
    if picture is None:
        return BLANK
    rows = round(40 * picture["height"] / max(1, picture["width"]))
    classes = f"s{min(TALLEST, max(FLATTEST, rows))}"
    if rows < ROOM_FOR_TAGS:
        classes += " flat"
    return classes if FLATTEST <= rows <= TALLEST else f"{classes} odd"


def size_of(picture: schemas.Version) -> Markup:
    """The attributes with which a browser keeps room for a picture before it has come."""
    return Markup('width="%d" height="%d"') % (picture["width"], picture["height"])
