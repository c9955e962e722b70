"""`/gifs/{id}/edit`: the form that trims and crops a GIF. It is on the GIF's page, too."""

import falcon
from falcon.asgi import Request, Response

from gifster.api.auth import require_editor
from gifster.api.bodies import url_form
from gifster.api.gifs import one_json
from gifster.api.pages.page import Page
from gifster.api.problems import problem_for, wants_page
from gifster.app import edits, library
from gifster.app.access import moderates
from gifster.app.errors import Conflict, Invalid, LibraryError
from gifster.app.moderation.log import needs_reason


class EditPage(Page):
    """`GET` the form, `POST` what it says."""

    async def on_get(self, req: Request, resp: Response, gif_id: str) -> None:
        await self._show(req, resp, gif_id)

    async def on_post(self, req: Request, resp: Response, gif_id: str) -> None:
        editor = await require_editor(self.context, req)
        await self.context.run_unconnected(self.context.limits.edit, req, editor.user)
        values = await url_form(self.context, req)

        def work() -> None:
            sent = {} if values.get("remove") else values
            edit = edits.read_form(lambda name: sent.get(name, ""))
            library.edit_gif(
                gif_id,
                editor.user,
                edit=lambda _: edit,
                reach=editor.reach,
                reason=values.get("reason", ""),
            )

        try:
            await self.context.run(work)
        except (Invalid, Conflict) as error:
            if not wants_page(req):
                raise
            resp.status = problem_for(error).status
            await self._show(req, resp, gif_id, values, error)
            return
        raise falcon.HTTPSeeOther(f"/gifs/{gif_id}")

    async def _show(
        self,
        req: Request,
        resp: Response,
        gif_id: str,
        values: dict[str, str] | None = None,
        refusal: LibraryError | None = None,
    ) -> None:
        editor = await require_editor(self.context, req)

        def work() -> dict[str, object]:
            gif = library.gif_to_change(gif_id, editor.user, editor.reach)
            return {
                "gif": one_json(gif, editor.viewer),
                "asks_reason": moderates(gif, editor.user, editor.reach),
                "needs_reason": needs_reason(gif, editor.user, editor.reach),
            }

        facts = await self.context.run(work)
        await self.render(req, resp, "edit.html", **facts, values=values or {}, refusal=refusal)
