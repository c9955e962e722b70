"""`/gifs/{id}/share`: what the share menu of a page needs to know (`GET`), and that somebody has
copied or downloaded a GIF (`POST`).

Popular GIFs come first in searches. Only the number counts: nobody is remembered.
"""

import falcon
from falcon.asgi import Request, Response
from typing_extensions import TypedDict

from gifster.api.auth import viewer_of
from gifster.api.bodies import url_form
from gifster.api.context import Context
from gifster.api.problems import Problem
from gifster.api.sharing.previews import Preview
from gifster.app import library, search, texts
from gifster.app.access import may_see_gif
from gifster.jobs.mounted import SOON


class Shared(TypedDict):
    """A GIF for the share menu.

    Attributes:
      title, alt: the title; what the picture shows.
      link, file, embed: the addresses of its page, of the file itself and of the page for frames.
      name: that of the file.
      width, height: of the picture, as previews have it (pixels).
      moves: whether it moves.
      by_anybody: whether everybody who has the link sees it.
    """

    title: str
    alt: str
    link: str
    file: str
    embed: str
    name: str
    width: int
    height: int
    moves: bool
    by_anybody: bool


class ShareMenu:
    """The menu's side of the server."""

    def __init__(self, context: Context) -> None:
        self.context = context

    async def on_get(self, req: Request, resp: Response, gif_id: str) -> None:
        viewer, home = await viewer_of(self.context, req), self.context.home(req)

        def work() -> Shared:
            preview = Preview(home, library.get_gif(gif_id, viewer), [])
            picture, file = preview.picture(), preview.file()
            if picture is None or file is None:
                raise Problem(
                    404, "not_ready", "This GIF has no picture yet. Try again soon.", SOON
                )
            return {
                "title": preview.gif.title,
                "alt": preview.alt,
                "link": preview.link,
                "file": home + file.path,
                "embed": preview.embed,
                "name": f"{preview.gif.title}.{file.extension}",
                "width": picture.width,
                "height": picture.height,
                "moves": preview.moves,
                "by_anybody": may_see_gif(preview.gif),
            }

        resp.media = await self.context.run(work)

    async def on_post(self, req: Request, resp: Response, gif_id: str) -> None:
        """Count a use; `q` is the search that has found the GIF, and may be empty."""
        await self.context.run_unconnected(self.context.limits.use, req)
        q = texts.query((await url_form(self.context, req)).get("q", ""))
        viewer, client = await viewer_of(self.context, req), self.context.client(req)

        def work() -> None:
            library.get_gif(gif_id, viewer)
            search.used(gif_id, q, client=client)

        await self.context.run(work)
        resp.status = falcon.HTTP_204
