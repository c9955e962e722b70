"""The queries of these addresses."""

from typing import Annotated

from pydantic import BeforeValidator

from gifster.api.schemas import told
from gifster.api.validation import Sent
from gifster.app import texts

#: Larger than any picture of ours (pixels).
_ANY = 1_000_000


def _pixels(text: str) -> int:
    """The number of pixels. Anything else is no limit, as the answer has to have a size."""
    if not (text.isascii() and text.isdecimal()):
        return _ANY
    # Python reads no number of more than 4,300 digits.
    digits = text.lstrip("0")
    return _ANY if len(digits) >= len(str(_ANY)) else int(digits or 0) or _ANY


Pixels = Annotated[int, BeforeValidator(_pixels), told("Pixels.", minimum=1)]


class OEmbedQuery(Sent):
    """What a consumer of oEmbed asks for."""

    url: Annotated[str, told("The address of a GIF's page, or its short one.", format="uri")] = ""
    maxwidth: Pixels = _ANY
    maxheight: Pixels = _ANY
    format: Annotated[str, told(enum=["json", "xml"])] = "json"


class FeedQuery(Sent):
    """Whose GIFs a feed has; left out, everybody's."""

    tag: Annotated[str, told("A whole tag.", maxLength=texts.MAX_TAG)] = ""
    user: Annotated[str, told("The id of a user.")] = ""
