"""The endpoints of Tenor v2 (https://developers.google.com/tenor/guides/endpoints).

Each is a function of the parameters; it blocks, and has a database connection around it.
"""

from collections.abc import Callable
from typing import Any

from falcon.asgi import Request, Response

from gifster.api.context import Context
from gifster.api.dropin import positions, tenor_objects
from gifster.api.dropin.access import Keys
from gifster.api.dropin.addresses import Addresses, sent_here
from gifster.api.dropin.asked import CONTENT_FILTERS, Asked
from gifster.api.dropin.counting import count_use
from gifster.api.dropin.found import at_random, by_ids, items, page
from gifster.api.dropin.renditions import GIF, Side, Wanted
from gifster.api.problems import Problem
from gifster.app import search as gifs
from gifster.app.models import Gif
from gifster.app.search import Filter, Found

Json = dict[str, Any]
Answer = Callable[[Asked, Addresses], Json]

DEFAULT_LIMIT, MOST_LIMIT, MOST_POSTS = 20, 50, 50
#: Categories that are searches, each of which costs a search for its picture.
MOST_TRENDING = 12
#: Width to height.
RATIOS = {"wide": (0.42, 2.36), "standard": (0.56, 1.78)}
DEFAULT_LOCALE = "en_US"
_PICTURE = Wanted(GIF, Side.WIDTH, 220)
#: What a category's search repeats.
_REPEATED = ("key", "client_key", "country", "locale", "contentfilter")


class Endpoint:
    """One of Tenor's endpoints.

    Parameters:
      context: the process's.
      keys: which are taken.
      answer: what it answers with.
      place: the path that comes before `/v2`.
    """

    asks_for_key = True

    def __init__(self, context: Context, keys: Keys, answer: Answer, place: str = "") -> None:
        self._context, self._keys, self._answer, self._place = context, keys, answer, place
        # A client that asks through `/proxy` fetches the files there, too, by their path.
        self._direct = sent_here(context.settings) and not place

    async def on_get(self, req: Request, resp: Response) -> None:
        asked = Asked.of(req, self._context.limits.address(req))
        addresses = Addresses(
            self._context.home(req),
            self._context.for_strangers,
            direct=self._direct,
            place=self._place,
        )

        def work() -> Json:
            self._keys.check(req, asked.raw("key"), 400)
            return self._answer(asked, addresses)

        resp.media = await self._context.run(work)


def search(asked: Asked, addresses: Addresses) -> Json:
    """GIFs that words find."""
    start, asked = positions.read(asked)
    q = asked.words("q", "tag")  # tenorjs searches for a category by `tag`
    if not q:
        raise Problem(400, "q_missing", "q is missing: say what to search for.")
    only, locale = _filter(asked), asked.locale("locale")

    def find(limit: int, /, *, offset: int = 0, cursor: str = "") -> Found:
        return gifs.find(q, only, offset=offset, limit=limit, locale=locale, cursor=cursor)

    limit = asked.number("limit", DEFAULT_LIMIT, 1, MOST_LIMIT)
    if asked.choice("random", ("true", "1")):
        return {"results": _results(at_random(find, limit), asked, addresses), "next": ""}
    found = page(find, start, limit)
    if found.gifs and start.is_first:
        gifs.searched(q, client=asked.client)
    return _page(found, {**asked.values, "q": q}, asked, addresses)


def featured(asked: Asked, addresses: Addresses) -> Json:
    """GIFs that are used most now. Ghost sends a `q`, which means nothing here."""
    start, asked = positions.read(asked)
    only = _filter(asked)

    def find(limit: int, /, *, offset: int = 0, cursor: str = "") -> Found:
        return gifs.trending(only, offset=offset, limit=limit, cursor=cursor)

    limit = asked.number("limit", DEFAULT_LIMIT, 1, MOST_LIMIT)
    found = page(find, start, limit)
    made = _page(found, {**asked.values, "q": ""}, asked, addresses)
    return made | _locale(asked)


def posts(asked: Asked, addresses: Addresses) -> Json:
    """GIFs by their ids."""
    return {"results": _results(by_ids(asked.ids("ids", MOST_POSTS)), asked, addresses)}


def categories(asked: Asked, addresses: Addresses) -> Json:
    """Searches to begin with, each with a picture: frequent tags, or what people search for now."""
    only = Filter(kind="gif", ratings=_ratings(asked), ready=True)
    repeated = [(name, value) for name in _REPEATED if (value := asked.raw(name)[:200])]
    if asked.choice("type", ("trending",)):
        pairs = _with_pictures(only, asked.locale("locale"))
    else:
        pairs = gifs.categories(only, limit=MOST_LIMIT)
    pictures = {}
    for item in items([gif for _, gif in pairs]):
        if file := item.renditions.find(_PICTURE):
            pictures[item.gif.id] = addresses.file(item.gif.id, file, "tinygif")
    tags = [
        tenor_objects.category(term, f"#{term}", pictures[gif.id], addresses, repeated)
        for term, gif in pairs
        if gif.id in pictures
    ]
    return _locale(asked) | {"tags": tags}


def search_suggestions(asked: Asked, addresses: Addresses) -> Json:
    """Words that occur together with those of a search."""
    return _terms(gifs.suggestions, asked, asked.words("q"))


def autocomplete(asked: Asked, addresses: Addresses) -> Json:
    """Words that begin as what somebody is typing."""
    return _terms(gifs.complete, asked, asked.words("q"))


def trending_terms(asked: Asked, addresses: Addresses) -> Json:
    """What people search for now."""
    limit = asked.number("limit", DEFAULT_LIMIT, 1, MOST_LIMIT)
    terms = gifs.trending_terms(limit=limit, locale=asked.locale("locale"))
    return _locale(asked) | {"results": terms}


def registershare(asked: Asked, addresses: Addresses) -> Json:
    """Count that somebody shared a GIF."""
    for gif_id in asked.ids("id", 1):
        count_use(gif_id, asked.client, asked.words("q"))
    return {"status": "ok"}


ANSWERS: dict[str, Answer] = {
    "search": search,
    "featured": featured,
    "posts": posts,
    "gifs": posts,  # its name in v1, which tenorjs still asks for
    "categories": categories,
    "search_suggestions": search_suggestions,
    "autocomplete": autocomplete,
    "trending_terms": trending_terms,
    "registershare": registershare,
}


def _filter(asked: Asked) -> Filter:
    least, most = RATIOS.get(asked.raw("ar_range").lower(), (0, float("inf")))
    return Filter(
        kind="sticker" if _stickers(asked) else "gif",
        ratings=_ratings(asked),
        min_ratio=least,
        max_ratio=most,
        ready=True,
        moves=not (_stickers(asked) and "static" in asked.names("searchfilter")),
    )


def _ratings(asked: Asked) -> frozenset[str]:
    return CONTENT_FILTERS[asked.choice("contentfilter", CONTENT_FILTERS, "off")]


def _stickers(asked: Asked) -> bool:
    return "sticker" in asked.names("searchfilter")


def _page(found: Found, values: dict[str, str], asked: Asked, addresses: Addresses) -> Json:
    """A page of results.

    Parameters:
      values: the parameters that the next page repeats.
    """
    return {
        "results": _results(found.gifs, asked, addresses),
        # Always a text: Zulip and Stoat refuse a page without it.
        "next": positions.write(found.cursor, values) if found.cursor else "",
    }


def _results(found: list[Gif], asked: Asked, addresses: Addresses) -> list[tenor_objects.Result]:
    formats = tenor_objects.formats(asked.names("media_filter"), stickers=_stickers(asked))
    return [tenor_objects.result(item, formats, addresses) for item in items(found)]


def _terms(find: Callable[..., list[str]], asked: Asked, q: str) -> Json:
    limit = asked.number("limit", DEFAULT_LIMIT, 1, MOST_LIMIT)
    terms = find(q, limit=limit, locale=asked.locale("locale")) if q else []
    return _locale(asked) | {"results": terms}


def _locale(asked: Asked) -> Json:
    return {"locale": asked.locale("locale") or DEFAULT_LOCALE}


def _with_pictures(only: Filter, locale: str) -> list[tuple[str, Gif]]:
    """What people search for now, each with the first GIF that it finds."""
    pairs = []
    for term in gifs.trending_terms(limit=MOST_TRENDING, locale=locale):
        pairs += [(term, gif) for gif in gifs.find(term, only, limit=1, locale=locale).gifs]
    return pairs
