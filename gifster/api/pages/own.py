"""The pages of a user's own lists: `/mine`, `/favourites` and `/trash`."""

from collections.abc import Callable
from urllib.parse import urlencode

import falcon
from falcon.asgi import Request, Response

from gifster.api import mine, schemas
from gifster.api.auth import require_token, viewer_of
from gifster.api.context import Context
from gifster.api.gifs import cards_json
from gifster.api.pages.page import PAGE_SIZE, Page
from gifster.app import trash
from gifster.app.access import Viewer
from gifster.app.models import User
from gifster.app.tokens import Scope


class OwnPage(Page):
    """A page of one of the user's own lists.

    Parameters:
      name: the page's, which is also its path.
      pages: makes it, of a user, a viewer, a cursor and a limit.
    """

    def __init__(
        self, context: Context, name: str, pages: Callable[[User, Viewer, str, int], mine.Page]
    ) -> None:
        super().__init__(context)
        self._name, self._pages = name, pages

    async def on_get(self, req: Request, resp: Response) -> None:
        user = (await require_token(self.context, req, Scope.READ)).user
        viewer = await viewer_of(self.context, req)

        def work() -> tuple[list[schemas.Gif], str | None]:
            cursor = req.get_param("cursor") or ""
            gifs, following = self._pages(user, viewer, cursor, PAGE_SIZE)
            return cards_json(gifs, viewer), following

        gifs, following = await self.context.run(work)
        await self.render(
            req,
            resp,
            "own.html",
            name=self._name,
            gifs=gifs,
            next_query=following and urlencode({"cursor": following}),
            trash_days=self.context.settings.library.trash_days,
            emptying=req.get_param("emptying") == "1",
        )


class TrashPage(OwnPage):
    """`/trash`, and `/trash/empty`, its button."""

    def __init__(self, context: Context) -> None:
        super().__init__(context, "trash", mine.own_trash)

    async def on_post_empty(self, req: Request, resp: Response) -> None:
        user = (await require_token(self.context, req, Scope.WRITE)).user
        deleted = await self.context.run(trash.empty, user)
        raise falcon.HTTPSeeOther("/trash" if deleted < trash.A_REQUEST else "/trash?emptying=1")
