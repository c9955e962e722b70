"""From GIFs of the database to what an answer is made of."""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol

from gifster.api.dropin.positions import Start
from gifster.api.dropin.renditions import Renditions
from gifster.app import lists
from gifster.app.models import Gif
from gifster.app.search import ALL_RATINGS, Found
from gifster.app.search.facts import STICKER, kinds
from gifster.uploads import StoredFile

#: Of how many results a random one is one.
MOST_RANDOM = 1_000
#: How often a search is asked for one page.
MOST_LOOKS = 20


class Find(Protocol):
    """A search, given how many results it may have and where they begin."""

    def __call__(self, limit: int, /, *, offset: int = 0, cursor: str = "") -> Found: ...


@dataclass(frozen=True)
class Item:
    """A GIF that an answer can show, with its tags and files."""

    gif: Gif
    tags: list[str]
    renditions: Renditions

    @property
    def is_sticker(self) -> bool:
        """Whether it has transparency."""
        return STICKER in kinds(self.renditions.stored)


def shown(gif: Gif) -> StoredFile | None:
    """The stored image of a GIF; None as long as not all of its versions are made."""
    if gif.image_state == "processing" and gif.image_tmp is None:
        return None
    return next(iter(Gif.image.stored_files(gif)), None)


def items(gifs: Iterable[Gif]) -> list[Item]:
    """Those of some GIFs that clients can show, in the same order: all of them show GIF files, so
    stills that came in another format are left out."""
    kept: list[tuple[Gif, Renditions]] = []
    for gif in gifs:
        stored = shown(gif)
        if stored is None:
            continue
        renditions = Renditions(stored, gif.edit)
        if renditions.has_gif:
            kept.append((gif, renditions))
    tags = lists.tags_of([gif for gif, _ in kept])
    return [Item(gif, tags[gif.id], renditions) for gif, renditions in kept]


def by_ids(ids: list[str], ratings: frozenset[str] = ALL_RATINGS) -> list[Gif]:
    """The GIFs with these ids, in this order, as far as a stranger may see them. Unlisted ones are
    among them, as whoever knows an id was told it (decision 66).

    Parameters:
      ratings: those that are allowed.
    """
    gifs = {gif.id: gif for gif in lists.get_gifs(ids)}
    known = (gifs[gif_id] for gif_id in ids if gif_id in gifs)
    return [gif for gif in known if gif.rating in ratings]


def page(find: Find, start: Start, limit: int) -> Found:
    """A page of what a search finds.

    A search for stills also finds those that came in another format than GIF. They take no place on
    the page: many clients take one without results for the end.
    """
    found = find(limit, offset=start.offset, cursor=start.cursor)
    gifs = [item.gif for item in items(found.gifs)]
    looks = 1
    while found.cursor and len(gifs) < limit and looks < MOST_LOOKS:
        found = find(limit - len(gifs), cursor=found.cursor)
        gifs += [item.gif for item in items(found.gifs)]
        looks += 1
    return replace(found, gifs=gifs)


def at_random(find: Find, count: int = 1) -> list[Gif]:
    """Some of the GIFs that a search finds, in random order.

    Parameters:
      count: how many at most.
    """
    total = min(find(1).total, MOST_RANDOM)
    offset = secrets.randbelow(max(1, total - count + 1))
    gifs = find(count, offset=offset).gifs
    while not gifs and offset:  # the total is an estimate
        offset //= 2
        gifs = find(count, offset=offset).gifs
    secrets.SystemRandom().shuffle(gifs)
    return gifs
