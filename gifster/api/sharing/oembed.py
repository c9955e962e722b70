"""`/oembed?url=…`: how a site shows a link to a GIF (https://oembed.com).

What moves is a `video`: Mastodon makes a still of every picture, and plays the page in the frame.
Its thumbnail is the GIF, which moves in chats that show thumbnails. What does not move is a
`photo`. Nobody is logged in here: a private GIF is not found, as everywhere.
"""

import html
from collections.abc import Mapping
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

from falcon.asgi import Request, Response

from gifster.api.context import Context
from gifster.api.problems import Problem
from gifster.api.sharing.previews import SITE, Preview
from gifster.api.sharing.renditions import Rendition
from gifster.api.sharing.requests import OEmbedQuery
from gifster.api.validation import query
from gifster.app import library, lists
from gifster.app.hosts import HostRules, parse_host
from gifster.app.models import User

#: What consumers may take for current (seconds): a replaced picture appears after that time.
CACHE_S = 3600
#: The paths of a GIF: its page, its short link, its file and its frame.
PATHS = {"gifs", "g", "embed"}

Json = dict[str, str | int]


class OEmbed:
    """The answer for consumers."""

    def __init__(self, context: Context) -> None:
        self.context = context
        web = context.settings.web
        self._rules, self._public = HostRules(web.public_url, web.hosts), bool(web.public_url)
        self._below = web.root_path + "/"

    async def on_get(self, req: Request, resp: Response) -> None:
        asked, home = query(req, OEmbedQuery), self.context.home(req)
        if not asked.url:
            raise Problem(400, "url_missing", "Name a GIF's address: /oembed?url=…")
        if asked.format not in ("json", "xml"):
            detail = f"There is no format {asked.format[:40]!r}: ask for json or xml."
            raise Problem(501, "format_unknown", detail)
        gif_id = self._gif_id(asked.url)

        def work() -> Json:
            gif = library.get_gif(gif_id)
            user = User.get_or_none(User.id == gif.user_id) if gif.user_id else None
            preview = Preview(home, gif, lists.tags_of([gif])[gif.id])
            return answer(preview, user, asked.maxwidth, asked.maxheight)

        made = await self.context.run(work)
        if asked.format == "xml":
            resp.content_type, resp.text = "text/xml; charset=utf-8", _xml(made)
        else:
            resp.media = made
        resp.set_header("Cross-Origin-Resource-Policy", "cross-origin")
        # Without a public address, the Host of the request is in it: no cache may share it.
        whose = "public" if self._public else "private"
        resp.set_header("Cache-Control", f"{whose}, max-age=300")

    def _gif_id(self, url: str) -> str:
        """The GIF of an address of this library.

        Raises:
          Problem: 404, it is another one.
        """
        try:
            parts = urlsplit(url)
            ours = (
                parts.scheme in ("http", "https")
                and parts.path.startswith(self._below)
                and self._rules.allow(parse_host(parts.netloc)[0])
            )
        except ValueError:
            ours = False
        path = parts.path.removeprefix(self._below) if ours else ""
        folder, _, name = path.partition("/")
        if folder not in PATHS:
            raise Problem(404, "not_found", f"{url[:200]} is not the address of a GIF here.")
        return name.partition("/")[0].partition(".")[0]


def answer(preview: Preview, user: User | None, max_width: int, max_height: int) -> Json:
    """The answer about a GIF.

    Parameters:
      user: its owner.
      max_width, max_height: of what the consumer shows (pixels).
    """
    made: Json = {
        "version": "1.0",
        "type": "link",
        "title": preview.gif.title,
        "provider_name": SITE,
        "provider_url": preview.home,
        "cache_age": CACHE_S,
    }
    if user is not None:
        made |= {"author_name": user.name}
    picture = preview.picture(max_width, max_height)
    if picture is not None:
        made |= _shown(preview, picture, *picture.fitted(max_width, max_height))
    return made


def _shown(
    preview: Preview, picture: Rendition, width: int, height: int
) -> Mapping[str, str | int]:
    url = preview.home + picture.path
    if not preview.moves:
        return {"type": "photo", "url": url, "width": width, "height": height}
    title = html.escape(preview.alt)
    frame = (
        f'<iframe src="{preview.embed}" width="{width}" height="{height}" title="{title}" '
        'style="border: 0" loading="lazy" allowfullscreen></iframe>'
    )
    return {
        "type": "video",
        "html": frame,
        "width": width,
        "height": height,
        "thumbnail_url": url,
        "thumbnail_width": width,
        "thumbnail_height": height,
    }


def _xml(made: Json) -> str:
    root = ET.Element("oembed")
    for name, value in made.items():
        ET.SubElement(root, name).text = str(value)
    text: str = ET.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="utf-8" standalone="yes"?>\n{text}\n'
