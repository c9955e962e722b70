"""Every path of the drop-in API."""

from collections.abc import Iterator

import falcon.asgi
from falcon.asgi import Request, Response

from gifster.api.context import Context
from gifster.api.dropin import giphy, tenor
from gifster.api.dropin.access import Keys
from gifster.api.dropin.counting import Analytics, Pingback
from gifster.api.dropin.media import IdConverter, Media, NameConverter
from gifster.api.dropin.uploading import Gifs
from gifster.app.boot import MEDIA

#: Where Commet, a Matrix client, expects a proxy of Tenor, and newer ones one of KLIPY, which
#: speaks the same.
PROXIES = ("/proxy/tenor", "/proxy/klipy")
#: Programs and pages of any site may POST here: their handlers look at no cookie.
OPEN_POSTS = {"/v1/gifs", "/v1/gifs/search/actions", "/v2/pingback"}
#: `gif_id` and `name` are checked by the route, so that all other paths stay the storage's.
FILE = "/{gif_id:gif_id}/{name:rendition}"

Route = tuple[str, object]


def routes(
    app: falcon.asgi.App[Request, Response], context: Context
) -> Iterator[tuple[str, object, str]]:
    """The paths, each with what answers there.

    Parameters:
      app: gets the converters of the paths.
    """
    converters = app.router_options.converters
    converters["gif_id"], converters["rendition"] = IdConverter, NameConverter
    keys = Keys(context)
    for path, resource in [*_tenor(context, keys), *_giphy(context, keys), *_media(context)]:
        yield path, resource, ""


def _tenor(context: Context, keys: Keys) -> Iterator[Route]:
    for place in ("", *(f"{proxy}/api" for proxy in PROXIES)):
        for name, answer in tenor.ANSWERS.items():
            yield f"{place}/v2/{name}", tenor.Endpoint(context, keys, answer, place)


def _giphy(context: Context, keys: Keys) -> Iterator[Route]:
    def one(path: str, answer: giphy.Answer, kind: str = "gif") -> Route:
        return path, giphy.Endpoint(context, keys, answer, kind)

    for kind, name in [("gif", "gifs"), ("sticker", "stickers")]:
        yield one(f"/v1/{name}/search", giphy.find, kind)
        yield one(f"/v1/{name}/trending", giphy.trending, kind)
        yield one(f"/v1/{name}/related", giphy.related, kind)
        yield one(f"/v1/{name}/translate", giphy.translate, kind)
        yield one(f"/v1/{name}/random", giphy.random, kind)
        yield one(f"/v1/{name}/{{gif_id}}", giphy.by_id, kind)
    yield "/v1/gifs", Gifs(context, keys)
    yield one("/v1/gifs/screensaver", giphy.screensaver)
    yield one("/v1/gifs/categories", giphy.categories)
    yield one("/v1/gifs/categories/{category}", giphy.subcategories)
    yield one("/v1/gifs/categories/{category}/{subcategory}", giphy.in_category)
    yield one("/v1/gifs/search/tags", giphy.completions)
    yield one("/v1/tags/related/{term}", giphy.related_tags)
    yield one("/v1/trending/searches", giphy.trending_searches)
    yield one("/v1/randomid", giphy.random_id)
    for kind in ("text", "videos", "clips"):
        for name in ("search", "trending", "related"):
            yield one(f"/v1/{kind}/{name}", giphy.nothing)
        yield one(f"/v1/{kind}/random", giphy.nothing_single)
    for path in ("/v1/text/animate", "/v1/channels/search", "/v1/emoji", "/v2/emoji"):
        yield one(path, giphy.nothing)
    yield one("/v2/emoji/{gif_id}/variations", giphy.nothing)
    yield "/v1/analytics", Analytics(context)
    yield "/v1/gifs/search/actions", Pingback(context)
    yield "/v2/pingback", Pingback(context)


def _media(context: Context) -> Iterator[Route]:
    media = Media(context)
    yield f"{MEDIA}{FILE}", media
    for proxy in PROXIES:  # followed by the path of a file's URL
        yield f"{proxy}/media{context.settings.web.root_path}{MEDIA}{FILE}", media
