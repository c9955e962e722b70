"""The endpoints of GIPHY v1 (https://developers.giphy.com/docs/api/endpoint).

Each is a function of the parameters; it blocks, and has a database connection around it.
"""

import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import falcon
from falcon.asgi import Request, Response

from gifster.api.context import Context
from gifster.api.dropin import giphy_objects
from gifster.api.dropin.access import Keys
from gifster.api.dropin.addresses import Addresses, sent_here
from gifster.api.dropin.asked import GIPHY_RATINGS, MOST_OFFSET, Asked
from gifster.api.dropin.envelopes import meta
from gifster.api.dropin.found import at_random, by_ids, items
from gifster.app import library, search, texts
from gifster.app.models import Gif
from gifster.app.search import ALL_RATINGS, Filter, Found

Json = dict[str, Any]
Answer = Callable[..., Json]

DEFAULT_LIMIT, MOST_LIMIT = 25, 100
DEFAULT_TERMS, MOST_TERMS = 5, 50
#: Subcategories, each of which costs a search for its picture.
MOST_SUBCATEGORIES = 12
#: What each step of `weirdness` adds to the number of GIFs from which one is chosen.
WEIRD = 5


class Endpoint:
    """One of GIPHY's endpoints.

    Parameters:
      context: the process's.
      keys: which are taken.
      answer: what it answers with, given the parameters, the addresses, the kind of pictures, and
        the parts of the path.
      kind: `gif` or `sticker`.
    """

    asks_for_key = True

    def __init__(self, context: Context, keys: Keys, answer: Answer, kind: str = "gif") -> None:
        self._context, self._keys, self._answer, self._kind = context, keys, answer, kind
        self._direct = sent_here(context.settings)

    async def on_get(self, req: Request, resp: Response, **path: str) -> None:
        asked = Asked.of(req, self._context.limits.address(req))
        home, signed = self._context.home(req), self._context.for_strangers
        addresses = Addresses(home, signed, direct=self._direct)

        def work() -> Json:
            self._keys.check(req, asked.raw("api_key"), 401)
            return self._answer(asked, addresses, self._kind, **path)

        resp.media = await self._context.run(work)


def find(asked: Asked, addresses: Addresses, kind: str) -> Json:
    """GIFs that words find."""
    q, offset, limit = asked.words("q"), *_page(asked)
    sort = "newest" if asked.choice("sort", ("recent",)) else "relevance"
    if not q or offset > MOST_OFFSET:
        return listed([], offset=offset)
    found = search.find(
        q, _filter(asked, kind), sort=sort, offset=offset, limit=limit, locale=_locale(asked)
    )
    if found.gifs and not offset:
        search.searched(q, client=asked.client)
    return _gifs(found, offset, addresses)


def trending(asked: Asked, addresses: Addresses, kind: str) -> Json:
    """GIFs that are used most now."""
    offset, limit = _page(asked)
    if offset > MOST_OFFSET:
        return listed([], offset=offset)
    found = search.trending(_filter(asked, kind), offset=offset, limit=limit)
    return _gifs(found, offset, addresses)


def related(asked: Asked, addresses: Addresses, kind: str) -> Json:
    """GIFs that have something in common with another one."""
    offset, limit = _page(asked)
    ids = asked.ids("gif_id", 1)
    if not ids or offset > MOST_OFFSET:
        return listed([], offset=offset)
    found = search.related(ids[0], _filter(asked, kind), offset=offset, limit=limit)
    return _gifs(found, offset, addresses)


def translate(asked: Asked, addresses: Addresses, kind: str) -> Json:
    """The GIF that a text means. The weirder, the more there are from which it is chosen."""
    s = asked.words("s")
    limit = 1 + WEIRD * asked.number("weirdness", 0, 0, 10)
    gifs: list[Gif] = []
    if s:
        gifs = search.find(s, _filter(asked, kind), limit=limit, locale=_locale(asked)).gifs
        secrets.SystemRandom().shuffle(gifs)
    return _one(gifs, addresses)


def random(asked: Asked, addresses: Addresses, kind: str) -> Json:
    """Any GIF, or any that a word finds."""
    tag, only = asked.words("tag"), _filter(asked, kind)

    def found(limit: int, /, *, offset: int = 0, cursor: str = "") -> Found:
        if tag:
            return search.find(tag, only, offset=offset, limit=limit, cursor=cursor)
        return search.trending(only, offset=offset, limit=limit, cursor=cursor)

    answer = _one(at_random(found), addresses)
    if answer["data"]:
        answer["data"] = giphy_objects.at_random(answer["data"])
    return answer


def screensaver(asked: Asked, addresses: Addresses, kind: str) -> Json:
    """The id of any GIF, as old clients ask for it."""
    return random(asked, addresses, kind)


def by_id(asked: Asked, addresses: Addresses, kind: str, gif_id: str) -> Json:
    """One GIF. As long as it is not ready there is nothing to show, so `data` is empty: a client
    that has just uploaded it asks at once."""
    gif = library.get_gif(gif_id)
    if gif.rating not in _ratings(asked):
        raise falcon.HTTPNotFound
    return _one([gif], addresses)


def several(asked: Asked, addresses: Addresses, kind: str) -> Json:
    """GIFs by their ids."""
    gifs = by_ids(asked.ids("ids"), _ratings(asked))
    return _gifs(Found(gifs, len(gifs)), 0, addresses)


def categories(asked: Asked, addresses: Addresses, kind: str) -> Json:
    """The most frequent tags, each with a picture."""
    offset, limit = _page(asked)
    found = search.categories(_filter(asked, kind), limit=limit, offset=offset)
    return _categories(found, None, offset, addresses)


def subcategories(asked: Asked, addresses: Addresses, kind: str, category: str) -> Json:
    """Tags that occur together with one, each with a picture."""
    offset, limit = _page(asked)
    name = Asked({"q": category}).words("q")
    names = search.suggestions(name, limit=MOST_SUBCATEGORIES) if name else []
    found = [
        (other, gif)
        for other in names[offset : offset + limit]
        for gif in search.find(name, _tagged(asked, kind, other), limit=1).gifs
    ]
    return _categories(found, len(names), offset, addresses)


def in_category(
    asked: Asked, addresses: Addresses, kind: str, category: str, subcategory: str
) -> Json:
    """GIFs of a category and a subcategory."""
    offset, limit = _page(asked)
    q = Asked({"q": category}).words("q")
    if offset > MOST_OFFSET:
        return listed([], offset=offset)
    found = search.find(q, _tagged(asked, kind, subcategory), offset=offset, limit=limit)
    return _gifs(found, offset, addresses)


def completions(asked: Asked, addresses: Addresses, kind: str) -> Json:
    """Words that begin as what somebody is typing."""
    q, offset = asked.words("q"), asked.number("offset", 0, 0, MOST_TERMS)
    limit = asked.number("limit", DEFAULT_TERMS, 1, MOST_TERMS)
    terms = search.complete(q, limit=offset + limit, locale=_locale(asked)) if q else []
    return listed([giphy_objects.term(name) for name in terms[offset:]], offset=offset)


def related_tags(asked: Asked, addresses: Addresses, kind: str, term: str) -> Json:
    """Words that occur together with one."""
    q = Asked({"q": term}).words("q")
    limit = asked.number("limit", DEFAULT_LIMIT, 1, MOST_TERMS)
    terms = search.suggestions(q, limit=limit, locale=_locale(asked)) if q else []
    return listed([giphy_objects.term(name) for name in terms])


def trending_searches(asked: Asked, addresses: Addresses, kind: str) -> Json:
    """What people search for now."""
    return {"data": search.trending_terms(limit=20, locale=_locale(asked)), "meta": meta()}


def random_id(asked: Asked, addresses: Addresses, kind: str) -> Json:
    """An id for a client that wants to tell its users apart. Nothing here keeps it."""
    return {"data": {"random_id": secrets.token_hex(16)}, "meta": meta()}


def nothing(asked: Asked, addresses: Addresses, kind: str, **path: str) -> Json:
    """An empty list, for what Gifster does not have: channels, animated text, emoji, clips."""
    return listed([])


def nothing_single(asked: Asked, addresses: Addresses, kind: str) -> Json:
    """The same where one GIF is asked for."""
    return {"data": [], "meta": meta()}


def listed(data: list[Any], total: int | None = None, offset: int = 0) -> Json:
    """A list in GIPHY's envelope."""
    count = len(data)
    pagination = {
        "total_count": offset + count if total is None else total,
        "count": count,
        "offset": offset,
    }
    return {"data": data, "pagination": pagination, "meta": meta()}


def _gifs(found: Found, offset: int, addresses: Addresses) -> Json:
    return listed(_objects(found.gifs, addresses), found.total, offset)


def _one(gifs: list[Gif], addresses: Addresses) -> Json:
    """The first of some GIFs, or an empty list."""
    objects = _objects(gifs, addresses)
    return {"data": objects[0] if objects else [], "meta": meta()}


def _objects(gifs: list[Gif], addresses: Addresses) -> list[Json]:
    return [giphy_objects.gif_object(item, addresses) for item in items(gifs)]


def _categories(
    found: list[tuple[str, Gif]], total: int | None, offset: int, addresses: Addresses
) -> Json:
    pictures = {gif["id"]: gif for gif in _objects([gif for _, gif in found], addresses)}
    data = [
        giphy_objects.category(name) | {"subcategories": [], "gif": pictures[gif.id]}
        for name, gif in found
        if gif.id in pictures
    ]
    return listed(data, total, offset)


def _page(asked: Asked) -> tuple[int, int]:
    """The offset and the limit."""
    offset = asked.number("offset", 0, 0, MOST_OFFSET + 1)
    return offset, asked.number("limit", DEFAULT_LIMIT, 1, MOST_LIMIT)


def _filter(asked: Asked, kind: str) -> Filter:
    return Filter(kind=kind, ratings=_ratings(asked), ready=True, moves=True)


def _tagged(asked: Asked, kind: str, tag: str) -> Filter:
    return replace(_filter(asked, kind), tag=texts.asked_tag(tag[: texts.MAX_TAG]))


def _ratings(asked: Asked) -> frozenset[str]:
    return GIPHY_RATINGS.get(asked.raw("rating").lower(), ALL_RATINGS)


def _locale(asked: Asked) -> str:
    return asked.locale("lang", "language")
