"""The texts that people give: titles, tags, names, passwords, searches; how each is made clean, and
how long it may be. Whatever way it comes in, it comes through here.

What only programs send (control characters, too much) is refused; what people paste without seeing
it is mended (decision 35). E-mail addresses are in `addresses.py`.
"""

import re
import unicodedata
from collections.abc import Iterable
from pathlib import PurePath

from gifster.app.errors import BadQuery, Invalid
from gifster.uploads.text import LONGEST, has_controls, is_visible, one_line, without_marks

#: In characters, after cleaning.
MAX_TITLE = 200
MAX_TAG = 50
MAX_TAGS = 20
MAX_NAME = 100
MAX_QUERY = 200
MIN_PASSWORD = 8
MAX_PASSWORD = 1000
#: More tags than that are not even compared.
_MOST_TAGS = 1_000

#: What `models.new_id()` makes.
GIF_ID = re.compile("[0-9A-Za-z]{12}")

_SPACES = re.compile("[\xa0\u1680\u2000-\u200a\u202f\u205f\u3000]")


def title(text: str) -> str:
    """A GIF's title, clean; empty if there is nothing to see in it.

    Raises:
      Invalid: it has control characters, or more than `MAX_TITLE` characters.
    """
    if has_controls(text):
        raise Invalid("title_invalid", "A title has no control characters.")
    cleaned = _line(text)
    if cleaned is None or len(cleaned) > MAX_TITLE:
        raise Invalid("title_too_long", f"A title has at most {MAX_TITLE} characters.")
    return cleaned if is_visible(cleaned) else ""


def title_from(filename: str) -> str:
    """The title of a GIF that was given none. `filename` is clean."""
    return " ".join(PurePath(filename).stem.split())[:MAX_TITLE] or "Untitled"


def tag_names(tags: Iterable[str]) -> list[str]:
    """Tags, clean, in lower case, each once, in alphabetical order.

    Raises:
      Invalid: one has control characters, or more than `MAX_TAG` characters; or they are more than
        `MAX_TAGS`.
    """
    given = list(tags)
    names = {_tag(tag) for tag in given[:_MOST_TAGS]} - {""}
    if len(names) > MAX_TAGS or len(given) > _MOST_TAGS:
        raise Invalid("too_many_tags", f"A GIF has at most {MAX_TAGS} tags.")
    return sorted(names)


def _tag(text: str) -> str:
    if has_controls(text):
        raise Invalid("tag_invalid", "A tag has no control characters.")
    cleaned = _line(text)
    name = "" if cleaned is None else _folded(cleaned)
    if cleaned is None or len(name) > MAX_TAG:
        raise Invalid("tag_too_long", f"A tag has at most {MAX_TAG} characters.")
    return name if is_visible(name) else ""


def _folded(cleaned: str) -> str:
    return one_line(without_marks(cleaned).lower())


def split_tags(text: str) -> list[str]:
    """Tags from a form's field, where commas part them."""
    return [tag.strip() for tag in text.split(",") if tag.strip()]


def person(text: str) -> str:
    """A person's name, clean; empty if there is nothing to see in it.

    Raises:
      Invalid: it has control characters, or more than `MAX_NAME` characters.
    """
    cleaned = None if has_controls(text) else _line(text)
    if cleaned is None or len(cleaned) > MAX_NAME:
        raise Invalid(
            "name_invalid", f"A name has at most {MAX_NAME} characters, none of them for control."
        )
    return cleaned if is_visible(cleaned) else ""


def query(text: str) -> str:
    """What is searched for, clean.

    Raises:
      BadQuery: it has control characters, or more than `MAX_QUERY` characters.
    """
    return _asked("q", text, MAX_QUERY)


def asked_tag(text: str) -> str:
    """The tag that GIFs are asked for by, as `tag_names()` has it.

    Raises:
      BadQuery: no tag has control characters, or more than `MAX_TAG` characters.
    """
    return _folded(_asked("tag", text, MAX_TAG))


def _asked(name: str, text: str, most: int) -> str:
    if has_controls(text):
        raise BadQuery(f"{name}_invalid", f"{name} has no control characters.")
    cleaned = _line(text)
    if cleaned is None or len(cleaned) > most:
        raise BadQuery(f"{name}_too_long", f"{name} has at most {most} characters.")
    return cleaned


def password(text: str) -> str:
    """A password as it is compared: in NFC, with plain spaces (RFC 8265, 4.2.2). So a keyboard that
    composes an ü and one that has it open the same account. Nothing else is changed.

    Parameters:
      text: at most `MAX_PASSWORD` characters.
    """
    return unicodedata.normalize("NFC", _SPACES.sub(" ", text))


def _line(text: str) -> str | None:
    """None for what is too long for anything."""
    return None if len(text) > LONGEST else one_line(text)
