"""The trash by HTTP: `/api/gifs/{id}/trash`, `/api/gifs/{id}/restore` and `/api/trash`."""

from collections.abc import Callable

import falcon
from falcon.asgi import Request, Response

from gifster.api import schemas
from gifster.api.auth import require_editor, require_token, viewer_of
from gifster.api.context import Context
from gifster.api.gifs import gifs_json, whole_json
from gifster.api.requests import Query, query
from gifster.app import trash
from gifster.app.library import Reach
from gifster.app.models import Gif, User
from gifster.app.tokens import Scope

Move = Callable[[str, User | None, Reach], Gif]


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
            gif = move(gif_id, editor.user, editor.reach)
            return whole_json(gif, editor.viewer, origin)

        resp.media = await self.context.run(work)


class Trash:
    """`GET` what is in one's own trash, or `DELETE` all of it for good."""

    def __init__(self, context: Context) -> None:
        self.context = context

    async def on_get(self, req: Request, resp: Response) -> None:
        user = (await require_token(self.context, req, Scope.READ)).user
        asked, origin = query(req, Query), self.context.origin(req)
        viewer = await viewer_of(self.context, req)

        def work() -> schemas.GifList:
            gifs, following = trash.trash_of(user, **asked.model_dump())
            return {"items": gifs_json(gifs, viewer, origin), "next": following}

        resp.media = await self.context.run(work)

    async def on_delete(self, req: Request, resp: Response) -> None:
        user = (await require_token(self.context, req, Scope.WRITE)).user
        await self.context.run(trash.empty, user)
        resp.status = falcon.HTTP_204
