"""The gallery, with the upload form."""

from functools import partial

import falcon
from falcon.asgi import Request, Response

from gifster.api import schemas
from gifster.api.auth import require_uploader, viewer_of
from gifster.api.gifs import accept_upload, cards_json, locale_of
from gifster.api.limits import RateLimited
from gifster.api.pages.links import page_links
from gifster.api.pages.page import PAGE_SIZE, Page
from gifster.api.pages.undo import thrown_away
from gifster.api.problems import problem_for, wants_page
from gifster.api.receive import Parts, UploadForm, fetch_into, upload_form
from gifster.api.sharing.feeds import query_of
from gifster.app import library, lists, search, texts
from gifster.app.library import LibraryError
from gifster.app.models import Gif, ImageUploader, User
from gifster.uploads import UploadError

#: How many pictures of other sites a form without a script may ask for.
MOST_URLS = 20
#: The states of GIFs whose cards will change.
WAITING = ("queued", "processing")


class Gallery(Page):
    """`/` shows the library and the upload form, which posts to `/gifs`; with `?q=`, `?tag=` or
    `?user=` (an id) it shows what is found."""

    async def on_get(self, req: Request, resp: Response) -> None:
        await self._show(req, resp)

    async def _show(
        self,
        req: Request,
        resp: Response,
        form: UploadForm | None = None,
        kept: str = "",
        refusal: LibraryError | UploadError | RateLimited | None = None,
    ) -> None:
        asked = {name: req.get_param(name) or "" for name in ("q", "tag", "user")}
        q = asked["q"]
        cursor, way = req.get_param("cursor") or "", req.get_param("way") or ""
        viewer, client = await viewer_of(self.context, req), self.context.client(req)

        corrected: dict[str, list[str]] = {}

        def work() -> tuple[list[schemas.Gif], str | None, User | None]:
            gifs, following = lists.list_gifs(
                **asked, cursor=cursor, limit=PAGE_SIZE, locale=locale_of(req)
            )
            if gifs and q:
                corrected.update(search.corrected(texts.query(q), locale_of(req)))
            if gifs and q and not cursor and not req.get_header("Gifster-Typing"):
                search.searched(q, client=client)
            by = lists.uploader(asked["user"]) if asked["user"] else None
            return cards_json(gifs, viewer), following, by

        gifs, following, by = await self.context.run(work)
        thrown = await thrown_away(self.context, req, resp, viewer)
        newer, older = page_links(asked, cursor, way, following)
        await self.render(
            req,
            resp,
            "gallery.html",
            thrown=thrown,
            gifs=gifs,
            q=q,
            tag=asked["tag"],
            by=by,
            feed_query=query_of(asked["tag"], asked["user"]),
            corrected=corrected,
            newest=not (any(asked.values()) or cursor),
            waiting=any(gif["state"] in WAITING for gif in gifs),
            newer_query=newer,
            next_query=older,
            max_bytes=self.context.settings.uploads.max_bytes,
            accept=",".join(sorted(ImageUploader.allow_types)),
            max_tags=texts.MAX_TAGS,
            max_tag=texts.MAX_TAG,
            form=form or UploadForm(),
            kept=kept,
            refusal=refusal,
        )

    async def on_post_upload(self, req: Request, resp: Response) -> None:
        user = await require_uploader(self.context, req)
        made: list[Gif] = []
        async with upload_form(self.context, req, user, Parts(fetching=False)) as form:
            try:
                await self._accept(req, form, user, made)
            except (library.Invalid, library.Denied, UploadError, RateLimited) as error:
                # Only a browser that shows the answer as a page can send the kept file again.
                if not wants_page(req) or req.get_header("Sec-Fetch-Mode") != "navigate":
                    raise
                resp.status = problem_for(error).status
                kept = await self.context.run(form.keep, user, self.context.quota)
                await self._show(req, resp, form, kept, error)
                return
        raise falcon.HTTPSeeOther(f"/gifs/{made[0].id}" if len(made) == 1 else "/")

    async def _accept(
        self, req: Request, form: UploadForm, user: User | None, made: list[Gif]
    ) -> None:
        """Make GIFs of the form's file and of those at its URLs, until one is refused. Those that
        are left stay in the form."""
        urls = form.urls
        if form.cached is None and not urls:
            raise library.Invalid("image_missing", "Choose a file, or give the address of one.")
        if len(urls) > MOST_URLS:
            detail = f"{len(urls)} addresses are too many: give at most {MOST_URLS} at a time."
            raise library.Invalid("too_many_images", detail)
        accept = partial(accept_upload, form, user, self.context.quota)
        if form.cached is not None:
            made.append((await self.context.commit(accept, form.handed_over))[0])
        for number, url in enumerate(urls):
            form.fields["remote_image_url"] = ["\n".join(urls[number:])]
            if number:
                await self.context.run_unconnected(self.context.limits.upload, req, user)
            await fetch_into(self.context, req, form, url)
            made.append((await self.context.commit(accept, form.handed_over))[0])

    async def on_get_upload(self, req: Request, resp: Response) -> None:
        raise falcon.HTTPSeeOther("/")
