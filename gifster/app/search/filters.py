"""Which GIFs a search may find, and what it has found."""

import math
from dataclasses import dataclass

from gifster.app.models import Gif

#: From what everybody may see to what only adults may see, as the films' ratings.
ALL_RATINGS = frozenset({"g", "pg", "pg-13", "r"})
#: Moving pictures, still ones, and those with transparency.
KINDS = ("gif", "still", "sticker")


@dataclass(frozen=True)
class Filter:
    """Which GIFs may be found. Each default means any.

    Parameters:
      tag: a whole tag, as `texts.asked_tag()` returns it.
      user: the id of the owner.
      kind: one of `KINDS`.
      ratings: any of `ALL_RATINGS`.
      min_ratio, max_ratio: of the width to the height.
      ready: only GIFs whose image is stored.
      moves: only what moves, or only stills; None for both.
    """

    tag: str = ""
    user: str = ""
    kind: str = ""
    ratings: frozenset[str] = ALL_RATINGS
    min_ratio: float = 0
    max_ratio: float = math.inf
    ready: bool = False
    moves: bool | None = None


@dataclass(frozen=True)
class Found:
    """A page of a search.

    Parameters:
      gifs: those of the page.
      total: how many there are; above some hundreds it is estimated.
      cursor: of the next page; empty on the last one.
    """

    gifs: list[Gif]
    total: int
    cursor: str = ""
