"""The forms on the page of a GIF. They work without JavaScript; with it, `static/details.js` sends
that of the details as a `PATCH`, and the page stays."""

from collections.abc import Callable
from functools import partial

import falcon
from falcon.asgi import Request, Response

from gifster.api.auth import require_editor, require_token, viewer_of
from gifster.api.bodies import url_form
from gifster.api.pages import undo
from gifster.api.pages.gif import GifPage
from gifster.api.pages.page import see
from gifster.api.problems import problem_for
from gifster.api.receive import upload_form
from gifster.app import favourites, library, texts, trash
from gifster.app.library import Reach
from gifster.app.models import Gif, User
from gifster.app.tokens import Scope

FIELDS = ("title", "tags", "alt_text", "rating", "visibility", "reason")
FORMS = ("details", "image", "trash", "restore", "delete", "favourite", "unfavourite")

Move = Callable[[str, User | None, Reach, str], Gif]


class GifForms(GifPage):
    """`POST` to `/gifs/{id}/` and one of `FORMS`."""

    async def on_post_details(self, req: Request, resp: Response, gif_id: str) -> None:
        editor = await require_editor(self.context, req)
        await self.context.run_unconnected(self.context.limits.edit, req, editor.user)
        typed = dict.fromkeys(FIELDS, "")
        typed |= await url_form(self.context, req)  # which leaves out empty fields

        def work() -> None:
            library.edit_gif(
                gif_id,
                editor.user,
                title=typed["title"],
                tags=texts.split_tags(typed["tags"]),
                alt_text=typed["alt_text"],
                rating=typed["rating"],
                visibility=typed["visibility"],
                reach=editor.reach,
                reason=typed["reason"],
            )

        try:
            await self.context.run(work)
        except library.Invalid as error:
            resp.status = problem_for(error).status
            await self.show(req, resp, gif_id, typed=typed, details_refusal=error)
            return
        raise falcon.HTTPSeeOther(f"/gifs/{gif_id}")

    async def on_post_image(self, req: Request, resp: Response, gif_id: str) -> None:
        editor = await require_editor(self.context, req)
        # Before the body is read.
        await self.context.run_unconnected(self.context.limits.upload, req, editor.user)
        await self.context.run(library.gif_to_change, gif_id, editor.user, editor.reach)
        async with upload_form(self.context, req, editor.user) as form:
            work = partial(
                library.replace_image,
                gif_id,
                editor.user,
                form.require_image(),
                self.context.quota,
                editor.reach,
                reason=form.first("reason"),
            )
            await self.context.commit(work, form.handed_over)
        raise falcon.HTTPSeeOther(f"/gifs/{gif_id}")

    async def on_post_trash(self, req: Request, resp: Response, gif_id: str) -> None:
        await self._move(req, gif_id, trash.throw_away)
        undo.remember(resp, gif_id)
        see(resp, "/")

    async def on_post_restore(self, req: Request, resp: Response, gif_id: str) -> None:
        await self._move(req, gif_id, trash.take_back)
        see(resp, f"/gifs/{gif_id}")

    async def _move(self, req: Request, gif_id: str, move: Move) -> None:
        editor = await require_editor(self.context, req)
        await self.context.run_unconnected(self.context.limits.edit, req, editor.user)
        await self.context.run(move, gif_id, editor.user, editor.reach, editor.reason)

    async def on_post_favourite(self, req: Request, resp: Response, gif_id: str) -> None:
        user = await self._user(req)
        viewer = await viewer_of(self.context, req)
        await self.context.run(favourites.add, user, gif_id, viewer)
        raise falcon.HTTPSeeOther(f"/gifs/{gif_id}")

    async def on_post_unfavourite(self, req: Request, resp: Response, gif_id: str) -> None:
        await self.context.run(favourites.remove, await self._user(req), gif_id)
        raise falcon.HTTPSeeOther(f"/gifs/{gif_id}")

    async def _user(self, req: Request) -> User:
        user = (await require_token(self.context, req, Scope.WRITE)).user
        await self.context.run_unconnected(self.context.limits.edit, req, user)
        return user

    async def on_post_delete(self, req: Request, resp: Response, gif_id: str) -> None:
        editor = await require_editor(self.context, req)
        await self.context.run(library.delete_gif, gif_id, editor.user, editor.reach, editor.reason)
        raise falcon.HTTPSeeOther("/")
