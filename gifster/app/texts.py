"""The texts that people give: titles, tags, names, passwords and searches. All of them come through
here, which cleans them and measures them.

Texts that only programs send (with control characters, or far too long) are refused. Characters
that people paste without seeing them are removed (decision 35). E-mail addresses are in
`addresses`.
"""

import re
import unicodedata
from collections.abc import Iterable
from enum import StrEnum
from pathlib import PurePath

from gifster.app.errors import BadQuery, Invalid
from gifster.jobs.wording import not_one_of, shown
from gifster.uploads.text import LONGEST, has_controls, is_visible, one_line, without_marks

#: In characters, after cleaning.
MAX_TITLE = 200
MAX_ALT_TEXT = 1000
MAX_REASON = 1000
MAX_TAG = 50
MAX_TAGS = 20
MAX_NAME = 100
MAX_BROWSER = 200
MAX_QUERY = 200
MIN_PASSWORD = 8
MAX_PASSWORD = 1000
#: A longer list of tags is refused without a look at them.
_MOST_TAGS = 1_000


class Rating(StrEnum):
    """Whom a GIF suits, in the words of Tenor and GIPHY."""

    G = "g"
    PG = "pg"
    PG_13 = "pg-13"
    R = "r"


class Visibility(StrEnum):
    """Who sees a GIF (see `access`)."""

    PUBLIC = "public"
    #: Those who know its address.
    UNLISTED = "unlisted"
    #: Its owner, and admins.
    PRIVATE = "private"


#: The ids that `models.new_id()` makes.
GIF_ID = re.compile("[0-9A-Za-z]{12}")

_SPACES = re.compile("[\xa0\u1680\u2000-\u200a\u202f\u205f\u3000]")


def title(text: str) -> str:
    """A GIF's title, clean; empty if nothing of it is visible.

    Raises:
      Invalid: it has control characters, or more than `MAX_TITLE` characters.
    """
    if has_controls(text):
        raise Invalid("title_invalid", "A title cannot have control characters.")
    cleaned = _line(text)
    if cleaned is None or len(cleaned) > MAX_TITLE:
        raise Invalid("title_too_long", _too_long("A title", text, MAX_TITLE))
    return cleaned if is_visible(cleaned) else ""


def title_from(filename: str) -> str:
    """The title of a GIF that came without one. `filename` is clean."""
    return " ".join(PurePath(filename).stem.split())[:MAX_TITLE] or "Untitled"


def alt_text(text: str) -> str:
    """The alternative text of a picture, clean and in one line; empty if nothing of it is visible.

    Raises:
      Invalid: it has control characters, or more than `MAX_ALT_TEXT` characters.
    """
    if has_controls(text):
        raise Invalid("alt_text_invalid", "An alternative text cannot have control characters.")
    cleaned = _line(text)
    if cleaned is None or len(cleaned) > MAX_ALT_TEXT:
        detail = _too_long("An alternative text", text, MAX_ALT_TEXT)
        raise Invalid("alt_text_too_long", detail)
    return cleaned if is_visible(cleaned) else ""


def reason(text: str) -> str:
    """Why somebody does something, clean and in one line; empty if nothing of it is visible.

    Raises:
      Invalid: it has control characters, or more than `MAX_REASON` characters.
    """
    # Line breaks are fine here: a text of several lines becomes one.
    one = " ".join(text.split())
    if has_controls(one):
        raise Invalid("reason_invalid", "A reason cannot have control characters.")
    cleaned = _line(one)
    if cleaned is None or len(cleaned) > MAX_REASON:
        raise Invalid("reason_too_long", _too_long("A reason", text, MAX_REASON))
    return cleaned if is_visible(cleaned) else ""


def rating(text: str) -> str:
    """A rating; raises `Invalid` for anything else."""
    if text not in set(Rating):
        raise Invalid("rating_invalid", not_one_of("rating", text, Rating))
    return text


def visibility(text: str) -> str:
    """A visibility; raises `Invalid` for anything else."""
    if text not in set(Visibility):
        raise Invalid("visibility_invalid", not_one_of("visibility", text, Visibility))
    return text


def tag_names(tags: Iterable[str]) -> list[str]:
    """Tags, clean, in lower case, each once, in alphabetical order.

    Raises:
      Invalid: one has control characters, or more than `MAX_TAG` characters; or there are more than
        `MAX_TAGS`.
    """
    given = list(tags)
    names = {_tag(tag) for tag in given[:_MOST_TAGS]} - {""}
    if len(names) > MAX_TAGS or len(given) > _MOST_TAGS:
        raise Invalid("too_many_tags", f"A GIF has at most {MAX_TAGS} tags, not {len(given):,}.")
    return sorted(names)


def _tag(text: str) -> str:
    if has_controls(text):
        raise Invalid("tag_invalid", "A tag cannot have control characters.")
    cleaned = _line(text)
    name = "" if cleaned is None else _folded(cleaned)
    if cleaned is None or len(name) > MAX_TAG:
        raise Invalid("tag_too_long", _too_long("A tag", text, MAX_TAG))
    return name if is_visible(name) else ""


def _folded(cleaned: str) -> str:
    return one_line(without_marks(cleaned).lower())


def split_tags(text: str) -> list[str]:
    """The tags of a form's field, where commas separate them."""
    return [tag.strip() for tag in text.split(",") if tag.strip()]


def person(text: str) -> str:
    """A person's name, clean; empty if nothing of it is visible.

    Raises:
      Invalid: it has control characters, or more than `MAX_NAME` characters.
    """
    if has_controls(text):
        raise Invalid("name_invalid", "A name cannot have control characters.")
    cleaned = _line(text)
    if cleaned is None or len(cleaned) > MAX_NAME:
        raise Invalid("name_invalid", _too_long("A name", text, MAX_NAME))
    return cleaned if is_visible(cleaned) else ""


def browser(user_agent: str) -> str:
    """What a browser says that it is, clean and cut to `MAX_BROWSER` characters."""
    return one_line(user_agent[:LONGEST])[:MAX_BROWSER]


def collection_name(text: str) -> str:
    """A collection's name, clean.

    Raises:
      Invalid: nothing of it is visible, or as `person()`.
    """
    name = person(text)
    if not name:
        raise Invalid("name_missing", "A collection needs a name.")
    return name


def query(text: str) -> str:
    """The words of a search, clean.

    Raises:
      BadQuery: it has control characters, or more than `MAX_QUERY` characters.
    """
    return _asked("q", text, MAX_QUERY)


def asked_tag(text: str) -> str:
    """The tag of a search, as `tag_names()` has it.

    Raises:
      BadQuery: it has control characters, or more than `MAX_TAG` characters.
    """
    return _folded(_asked("tag", text, MAX_TAG))


def _asked(name: str, text: str, most: int) -> str:
    if has_controls(text):
        raise BadQuery(f"{name}_invalid", f"{name} cannot have control characters.")
    cleaned = _line(text)
    if cleaned is None or len(cleaned) > most:
        raise BadQuery(f"{name}_too_long", _too_long(name, text, most))
    return cleaned


def password(text: str) -> str:
    """A password as it is compared: in NFC, with plain spaces (RFC 8265, 4.2.2). So keyboards that
    send an ü in one or in two characters open the same account. Nothing else is changed.

    Parameters:
      text: at most `MAX_PASSWORD` characters.
    """
    return unicodedata.normalize("NFC", _SPACES.sub(" ", text))


def _too_long(what: str, text: str, most: int) -> str:
    return f"{what} has at most {most:,} characters: {shown(text)} has {len(text):,}."


def _line(text: str) -> str | None:
    """The text in one line; None if it is too long for any of the limits."""
    return None if len(text) > LONGEST else one_line(text)
