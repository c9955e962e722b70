"""The parameters of a request, read as clients mean them: unknown ones are ignored, and a value
that makes no sense counts as absent. So do empty ones, which many clients send.

The clients are other people's, and nobody can mend them. So only what is needed can be missing.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from falcon.asgi import Request

from gifster.app.search import ALL_RATINGS
from gifster.app.texts import GIF_ID, MAX_QUERY
from gifster.uploads.text import LONGEST, one_line

#: What a parameter that is no text of people's may have (characters).
MOST = 100
#: How many results can be skipped (GIPHY's limit). Nobody scrolls further.
MOST_OFFSET = 4_999
#: How many GIFs can be asked for by their ids.
MOST_IDS = 100

_LOCALE = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8}){0,2}")
#: The ratings that each of GIPHY's allows.
GIPHY_RATINGS = {
    "y": frozenset({"g"}),
    "g": frozenset({"g"}),
    "pg": frozenset({"g", "pg"}),
    "pg-13": frozenset({"g", "pg", "pg-13"}),
    "r": ALL_RATINGS,
}
#: Tenor's names of the same, as Mattermost and Zulip map them.
CONTENT_FILTERS = {
    "high": GIPHY_RATINGS["g"],
    "medium": GIPHY_RATINGS["pg"],
    "low": GIPHY_RATINGS["pg-13"],
    "off": ALL_RATINGS,
}


@dataclass(frozen=True)
class Asked:
    """Parameters by name, each once.

    Parameters:
      values: the parameters.
      client: the address of the client, by which what it takes is counted.
    """

    values: Mapping[str, str]
    client: str = ""

    @classmethod
    def of(cls, req: Request, client: str = "") -> "Asked":
        """Those of a request's query. If one is repeated, its first value counts."""
        values = {
            name: value if isinstance(value, str) else value[0]
            for name, value in req.params.items()
        }
        return cls(values, client)

    def raw(self, name: str) -> str:
        """A parameter as it was sent, without spaces around it; empty if it is absent."""
        return self.values.get(name, "").strip()

    def words(self, *names: str) -> str:
        """The words of a search: the first of these parameters that has any, clean, and cut to what
        a search may have."""
        for name in names:
            if line := one_line(self.values.get(name, "")[:LONGEST]):
                return line[:MAX_QUERY].strip()
        return ""

    def number(self, name: str, default: int, least: int, most: int) -> int:
        """A whole number. One above `most` counts as `most`; one below `least`, or no number, as
        the default."""
        text = self.raw(name)
        if not (text.isascii() and text.isdigit()):
            return default
        number = int(text[:10])
        return default if number < least else min(number, most)

    def choice(self, name: str, choices: Collection[str], default: str = "") -> str:
        """One of these words, in lower case."""
        text = self.raw(name).lower()
        return text if text in choices else default

    def names(self, name: str) -> list[str]:
        """The words of a list with commas, in lower case, each once."""
        words = self.raw(name)[: 10 * MOST].lower().split(",")
        return list(dict.fromkeys(filter(None, map(str.strip, words))))

    def ids(self, name: str, most: int = MOST_IDS) -> list[str]:
        """The ids of a list with commas, each once. What is no id of ours is left out."""
        ids = (part.strip() for part in self.raw(name)[: most * 64].split(","))
        return list(dict.fromkeys(i for i in ids if GIF_ID.fullmatch(i)))[:most]

    def locale(self, *names: str) -> str:
        """A language, such as `en` or `en_US`; empty if it is absent."""
        for name in names:
            if _LOCALE.fullmatch(text := self.raw(name)):
                return text
        return ""
