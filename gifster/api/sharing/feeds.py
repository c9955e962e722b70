"""`/feed.atom`: the newest GIFs for feed readers, as Atom (RFC 4287); `?tag=` and `?user=` (an id)
give those of a tag and of a user.

Entries keep their ids when the library moves to another address. A reader that has the present
state already gets 304.
"""

import hashlib
import uuid
from dataclasses import dataclass
from urllib.parse import urlencode

from falcon.asgi import Request, Response

from gifster.api.conditional import Validators
from gifster.api.context import Context
from gifster.api.sharing.previews import SITE, Preview
from gifster.api.sharing.requests import FeedQuery
from gifster.api.validation import query
from gifster.app import lists, search, texts
from gifster.app.models import rfc3339
from gifster.app.search import Filter

#: How many entries: a reader that comes once a day misses none in most libraries.
ENTRIES = 50
#: The namespace of the ids of entries (RFC 9562).
IDS = uuid.UUID("5f2c0e0c-5a7e-4d0e-9d46-0c2f2f1f6a11")
#: When an empty feed has last changed; it has to say something.
NEVER = "1970-01-01T00:00:00Z"


@dataclass(frozen=True)
class Entry:
    """A GIF in a feed, and the name of its author."""

    preview: Preview
    author: str

    @property
    def id(self) -> str:
        return uuid.uuid5(IDS, self.preview.gif.id).urn

    @property
    def at(self) -> str:
        return rfc3339(self.preview.gif.created_at)


def query_of(tag: str, user: str) -> str:
    """The query of a feed and of the page that shows the same: empty, or with its question mark."""
    asked = urlencode({key: value for key, value in (("tag", tag), ("user", user)) if value})
    return f"?{asked}" if asked else ""


class Feed:
    """The feed."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self._public = bool(context.settings.web.public_url)
        self._template = context.templates.get_template("feed.xml")

    async def on_get(self, req: Request, resp: Response) -> None:
        asked, home = query(req, FeedQuery), self.context.home(req)
        text: str = await self.context.run(self._made, asked, home)
        # Without a public address, the Host of the request is in it: no cache may share it.
        resp.set_header("Cache-Control", "no-cache" if self._public else "private, no-cache")
        resp.set_header("Cross-Origin-Resource-Policy", "cross-origin")
        validators = Validators(f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"', None)
        resp.etag = validators.etag
        if validators.status_for(req) == 304:
            resp.status = 304
            return
        resp.content_type, resp.text = "application/atom+xml; charset=utf-8", text

    def _made(self, asked: FeedQuery, home: str) -> str:
        tag, title = texts.asked_tag(asked.tag), f"Newest GIFs on {SITE}"
        if asked.user:
            title = f"GIFs by {lists.uploader(asked.user).name} on {SITE}"
        if tag:
            title = f"#{tag} on {SITE}" if not asked.user else f"#{tag}: {title}"
        wanted = Filter(tag=tag, user=asked.user, ready=True)
        gifs = search.find("", wanted, sort="newest", limit=ENTRIES).gifs
        tags, names = lists.tags_of(gifs), lists.uploaders_of(gifs)
        entries = [
            Entry(Preview(home, gif, tags[gif.id]), names.get(gif.user_id or "", SITE))
            for gif in gifs
        ]
        about = query_of(tag, asked.user)
        return self._template.render(
            title=title,
            site=SITE,
            home=home,
            own=f"{home}/feed.atom{about}",
            page=f"{home}/{about}",
            updated=max((entry.at for entry in entries), default=NEVER),
            entries=entries,
        )
