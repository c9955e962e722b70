"""The trash by HTTP: `/api/gifs/{id}/trash` and `/api/gifs/{id}/restore`. The list of what is in it
is in `mine`."""

from collections.abc import Callable

from falcon.asgi import Request, Response

from gifster.api import schemas
from gifster.api.auth import require_editor
from gifster.api.context import Context
from gifster.api.gifs import whole_json
from gifster.app import trash
from gifster.app.library import Reach
from gifster.app.models import Gif, User

Move = Callable[[str, User | None, Reach, str], Gif]


class GifTrash:
    """`POST` a GIF into the trash, or (`/restore`) take it back."""

    def __init__(self, context: Context) -> None:
        self.context = context

    async def on_post(self, req: Request, resp: Response, gif_id: str) -> None:
        await self._move(req, resp, gif_id, trash.throw_away)

    async def on_post_restore(self, req: Request, resp: Response, gif_id: str) -> None:
        await self._move(req, resp, gif_id, trash.take_back)

    async def _move(self, req: Request, resp: Response, gif_id: str, move: Move) -> None:
        editor, origin = await require_editor(self.context, req), self.context.origin(req)
        await self.context.run_unconnected(self.context.limits.edit, req, editor.user)

        def work() -> schemas.WholeGif:
            gif = move(gif_id, editor.user, editor.reach, editor.reason)
            return whole_json(gif, editor.viewer, origin)

        resp.media = await self.context.run(work)
