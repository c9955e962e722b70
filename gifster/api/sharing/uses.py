"""`POST /gifs/{id}/used`: somebody has copied or downloaded a GIF.

Popular GIFs come first in searches. Only the number counts: nobody is remembered.
"""

import falcon
from falcon.asgi import Request, Response

from gifster.api.auth import viewer_of
from gifster.api.context import Context
from gifster.api.receive import url_form
from gifster.app import library, search, texts


class Used:
    """Takes a form with `q`, the words with which the GIF was found; it may be empty."""

    def __init__(self, context: Context) -> None:
        self.context = context

    async def on_post(self, req: Request, resp: Response, gif_id: str) -> None:
        await self.context.run_unconnected(self.context.limits.use, req)
        q = texts.query((await url_form(self.context, req)).get("q", ""))
        viewer = await viewer_of(self.context, req)

        def work() -> None:
            library.get_gif(gif_id, viewer)
            search.used(gif_id, q)

        await self.context.run(work)
        resp.status = falcon.HTTP_204
