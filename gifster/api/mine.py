"""A user's own lists by HTTP: `/api/mine`, `/api/trash`, and `/api/favourites`."""

from collections.abc import Callable

import falcon
from falcon.asgi import Request, Response

from gifster.api import schemas
from gifster.api.auth import require_token, viewer_of
from gifster.api.context import Context
from gifster.api.gifs import gifs_json
from gifster.api.requests import Query
from gifster.api.validation import query
from gifster.app import favourites, mine, trash
from gifster.app.access import Viewer
from gifster.app.models import Gif, User
from gifster.app.tokens import Scope

Page = tuple[list[Gif], str | None]


def own_gifs(user: User, viewer: Viewer, cursor: str, limit: int) -> Page:
    """A page of a user's GIFs."""
    return mine.gifs_of(user, cursor=cursor, limit=limit)


def own_trash(user: User, viewer: Viewer, cursor: str, limit: int) -> Page:
    """A page of a user's trash."""
    return trash.trash_of(user, cursor=cursor, limit=limit)


def own_favourites(user: User, viewer: Viewer, cursor: str, limit: int) -> Page:
    """A page of a user's favourites."""
    return favourites.favourites_of(user, viewer, cursor=cursor, limit=limit)


class OwnList:
    """`GET` a page of one of the user's own lists.

    Parameters:
      pages: makes it, of a user, a viewer, a cursor and a limit.
    """

    def __init__(self, context: Context, pages: Callable[[User, Viewer, str, int], Page]) -> None:
        self.context, self._pages = context, pages

    async def on_get(self, req: Request, resp: Response) -> None:
        user = (await require_token(self.context, req, Scope.READ)).user
        asked, origin = query(req, Query), self.context.origin(req)
        viewer = await viewer_of(self.context, req)

        def work() -> schemas.GifList:
            gifs, following = self._pages(user, viewer, asked.cursor, asked.limit)
            return {"items": gifs_json(gifs, viewer, origin), "next": following}

        resp.media = await self.context.run(work)


class Trash(OwnList):
    """`GET` what is in one's own trash, or `DELETE` all of it for good."""

    def __init__(self, context: Context) -> None:
        super().__init__(context, own_trash)

    async def on_delete(self, req: Request, resp: Response) -> None:
        user = (await require_token(self.context, req, Scope.WRITE)).user
        await self.context.run(trash.empty, user)
        resp.status = falcon.HTTP_204


class OneFavourite:
    """`PUT` a GIF among one's favourites, or `DELETE` it there."""

    def __init__(self, context: Context) -> None:
        self.context = context

    async def on_put(self, req: Request, resp: Response, gif_id: str) -> None:
        user = await self._user(req)
        viewer = await viewer_of(self.context, req)
        await self.context.run(favourites.add, user, gif_id, viewer)
        resp.status = falcon.HTTP_204

    async def on_delete(self, req: Request, resp: Response, gif_id: str) -> None:
        user = await self._user(req)
        await self.context.run(favourites.remove, user, gif_id)
        resp.status = falcon.HTTP_204

    async def _user(self, req: Request) -> User:
        user = (await require_token(self.context, req, Scope.WRITE)).user
        await self.context.run_unconnected(self.context.limits.edit, req, user)
        return user
