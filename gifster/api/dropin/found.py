"""From GIFs of the database to what an answer is made of."""

import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from gifster.api.dropin.asked import MOST_OFFSET
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


def page(
    find: Callable[[int, int, int], Found], offset: int, limit: int, top: int
) -> tuple[Found, int]:
    """A page of what a search finds, and the offset of the next one.

    A search for stills also finds those that came in another format than GIF. They take no place on
    the page: many clients take one without results for the end.

    Parameters:
      find: the search, given an offset, a limit and a top.
      top: of the page before (`search.Found`); 0 for the first one.
    """
    found, following = find(offset, limit, top), offset + limit
    gifs = [item.gif for item in items(found.gifs)]
    looks = 1
    while found.more and len(gifs) < limit and following <= MOST_OFFSET and looks < MOST_LOOKS:
        missing = limit - len(gifs)
        # A GIF that has come since the first look moves no other.
        found, following = find(following, missing, found.top), following + missing
        gifs += [item.gif for item in items(found.gifs)]
        looks += 1
    return replace(found, gifs=gifs), following


def at_random(find: Callable[[int, int], Found], count: int = 1) -> list[Gif]:
    """Some of the GIFs that a search finds, in random order.

    Parameters:
      find: the search, given an offset and a limit.
      count: how many at most.
    """
    total = min(find(0, 1).total, MOST_RANDOM)
    offset = secrets.randbelow(max(1, total - count + 1))
    gifs = find(offset, count).gifs
    while not gifs and offset:  # the total is an estimate
        offset //= 2
        gifs = find(offset, count).gifs
    secrets.SystemRandom().shuffle(gifs)
    return gifs
