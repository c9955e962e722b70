"""`/media/{id}/giphy.gif` and its siblings: addresses that clients make up themselves from an id.

Each redirects to the file that comes nearest. They stay when the storage's own URLs expire, and
when the image is replaced. The same for Tenor's formats: `/media/{id}/tinygif.gif`.
"""

import falcon
from falcon.asgi import Request, Response
from falcon.routing import BaseConverter

from gifster.api.context import Context
from gifster.api.dropin import giphy_objects, tenor_objects
from gifster.api.dropin.found import shown
from gifster.api.dropin.renditions import GIF, MP4, STILL, WEBM, WEBP, Renditions, Wanted
from gifster.api.links import absolute
from gifster.api.media import plain_url
from gifster.app import library
from gifster.app.boot import MEDIA
from gifster.app.texts import GIF_ID

KINDS = {"gif": GIF, "mp4": MP4, "webm": WEBM, "webp": WEBP}


def wanted(name: str) -> Wanted | None:
    """What a name stands for, such as `200w.gif` or `tinygif.gif`; None for any other name."""
    stem, _, ending = name.rpartition(".")
    if stem in tenor_objects.BY_NAME:
        return tenor_objects.BY_NAME[stem]
    if (stem, ending) in _GIPHY:
        return _GIPHY[stem, ending]
    return _STILLS.get(stem)


_GIPHY: dict[tuple[str, str], Wanted] = {
    (name, ending): Wanted(kind, side, pixels)
    for name, side, pixels, _ in giphy_objects.MOVING.values()
    for ending, kind in KINDS.items()
} | {
    (name, ending): one
    for name, one in [*giphy_objects.SINGLE.values(), giphy_objects.DOWNSIZED_SMALL]
    for ending, kind in KINDS.items()
    if kind == one.kind
}
#: A still has any extension: `480w_s.jpg`, `200_s.gif`.
_STILLS = {name: one for name, one in giphy_objects.SINGLE.values() if one.kind == STILL}


class IdConverter(BaseConverter):
    """Lets only ids of GIFs into a route. A path with anything else is one of the storage's."""

    def convert(self, value: str) -> str | None:
        return value if GIF_ID.fullmatch(value) else None


class NameConverter(BaseConverter):
    """Lets only names into a route that stand for a file."""

    def convert(self, value: str) -> str | None:
        return value if wanted(value) is not None else None


class Media:
    """Redirects to a file."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def on_get(self, req: Request, resp: Response, gif_id: str, name: str) -> None:
        asked = wanted(name)
        url = None
        if asked is not None:
            url = await self._context.run(_url, gif_id, asked)
        if url is None:
            raise falcon.HTTPNotFound
        resp.status = falcon.HTTP_302
        root = self._context.settings.web.root_path
        if url.startswith(f"{root}{MEDIA}/"):
            url = root + self._context.for_strangers(url.removeprefix(root))
        resp.location = absolute(self._context.origin(req), url)
        # The image may be replaced, or taken away; the file itself is immutable.
        resp.set_header("Cache-Control", "no-cache")


def _url(gif_id: str, asked: Wanted) -> str | None:
    gif = library.get_gif(gif_id)
    stored = shown(gif)
    if stored is None:
        return None
    file = Renditions(stored, gif.edit).find(asked)
    return plain_url(file) if file is not None else None
