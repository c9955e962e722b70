"""The pages: plain forms and plain HTML, which work without JavaScript. The scripts in `static/`
add progress bars, several files at once, and cards that update themselves (`live`)."""

from datetime import timedelta
from functools import partial

import falcon
from falcon.asgi import Request, Response

from gifster.api import schemas
from gifster.api.auth import (
    current_token,
    current_user,
    end_session,
    require_scope,
    require_uploader,
    start_session,
    viewer_of,
)
from gifster.api.context import Context
from gifster.api.gifs import OF_CARDS, accept_upload, gifs_json, locale_of
from gifster.api.limits import RateLimited
from gifster.api.page_links import page_links
from gifster.api.problems import problem_for, wants_page
from gifster.api.receive import Parts, UploadForm, fetch_into, upload_form, url_form
from gifster.api.sharing.previews import Preview
from gifster.api.undo import thrown_away
from gifster.app import (
    accounts,
    addresses,
    collections,
    favourites,
    library,
    lists,
    near_duplicates,
    search,
    texts,
    tokens,
)
from gifster.app.access import Reach, may_change, may_see_gif
from gifster.app.library import LibraryError
from gifster.app.models import Gif, ImageUploader, User
from gifster.app.tokens import Scope
from gifster.uploads import UploadError

PAGE_SIZE = 30
#: How many GIFs with the same words a GIF's page shows.
MOST_ALIKE = 12
#: How many pictures of other sites a form without a script may ask for.
MOST_URLS = 20
#: The states of GIFs whose cards will change.
WAITING = ("queued", "processing")


class Page:
    """The base of all pages."""

    def __init__(self, context: Context) -> None:
        self.context = context

    async def render(self, req: Request, resp: Response, template: str, **values: object) -> None:
        """Answer with a template, which also gets the user."""
        user = await current_user(self.context, req)
        values |= {"user": user, "may_write": self.may_write(user)}
        resp.content_type = falcon.MEDIA_HTML
        resp.text = self.context.templates.get_template(template).render(values)

    def may_write(self, user: User | None) -> bool:
        """Whether to show the upload form."""
        return user is not None or self.context.settings.auth.anonymous_uploads


class Gallery(Page):
    """`/` shows the library and the upload form, which posts to `/gifs`."""

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
        q, tag = req.get_param("q") or "", req.get_param("tag") or ""
        cursor, way = req.get_param("cursor") or "", req.get_param("way") or ""
        viewer, client = await viewer_of(self.context, req), self.context.client(req)

        def work() -> tuple[list[schemas.Gif], str | None]:
            gifs, following = lists.list_gifs(
                q=q, tag=tag, cursor=cursor, limit=PAGE_SIZE, locale=locale_of(req)
            )
            if gifs and q and not cursor and not req.get_header("Gifster-Typing"):
                search.searched(q, client=client)
            return gifs_json(gifs, viewer, only=OF_CARDS), following

        gifs, following = await self.context.run(work)
        thrown = await thrown_away(self.context, req, resp, viewer)
        newer, older = page_links({"q": q, "tag": tag}, cursor, way, following)
        await self.render(
            req,
            resp,
            "gallery.html",
            thrown=thrown,
            gifs=gifs,
            q=q,
            tag=tag,
            newest=not (q or tag or cursor),
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


class GifPage(Page):
    """`/gifs/{id}` and its card for the gallery; its forms are in `gif_forms`."""

    async def on_get(self, req: Request, resp: Response, gif_id: str) -> None:
        await self.show(req, resp, gif_id)

    async def show(self, req: Request, resp: Response, gif_id: str, **values: object) -> None:
        """Answer with the page.

        Parameters:
          values: more for the template, in place of its own.
        """
        user = await current_user(self.context, req)
        viewer, origin = await viewer_of(self.context, req), self.context.origin(req)

        def work() -> dict[str, object]:
            gif = library.get_gif(gif_id, viewer)
            facts = gifs_json([gif], viewer)[0]
            near = near_duplicates.near_duplicates_of(gif, user_id=viewer.user_id)
            alike = search.related(gif_id, limit=MOST_ALIKE + len(near)).gifs
            return {
                "gif": facts,
                "shared": Preview(origin, gif, facts["tags"]) if may_see_gif(gif) else None,
                "similar": gifs_json(near, viewer, only=OF_CARDS),
                "alike": gifs_json(
                    [one for one in alike if one not in near], viewer, only=OF_CARDS
                ),
                "uses": search.lately(gif_id),
                "may_change": self.may_write(user) and may_change(gif, user, viewer.reach),
                "may_be_private": gif.user_id is not None or viewer.reach is Reach.ALL,
                "deleted_at": self._end_of(gif),
                "favourite": user is not None and favourites.is_favourite(user, gif_id),
                "collections": collections.collections_of(user) if user else [],
                "collected_in": collections.with_gif(user, gif_id) if user else set(),
                "typed": None,
                "details_refusal": None,
                "accept": ",".join(sorted(ImageUploader.allow_types)),
            }

        await self.render(req, resp, "gif.html", **(await self.context.run(work) | values))

    def _end_of(self, gif: Gif) -> str | None:
        """The day on which a GIF in the trash is deleted; None if it is not."""
        days = self.context.settings.library.trash_days
        if gif.trashed_at is None or not days:
            return None
        return str((gif.trashed_at + timedelta(days=days)).date())

    async def on_get_card(self, req: Request, resp: Response, gif_id: str) -> None:
        viewer = await viewer_of(self.context, req)
        gif = await self.context.run(
            lambda: gifs_json([library.get_gif(gif_id, viewer)], viewer)[0]
        )
        await self.render(req, resp, "card.html", gif=gif)


class AccountForm(Page):
    """A form that begins a session, or comes back with an error."""

    template: str

    def submit(self, req: Request, values: dict[str, str]) -> User:
        """The user whose session begins (in a thread).

        Raises:
          LibraryError, RateLimited: the form is refused.
        """
        raise NotImplementedError

    async def on_get(self, req: Request, resp: Response) -> None:
        await self.render(req, resp, self.template, values={}, error=None)

    async def on_post(self, req: Request, resp: Response) -> None:
        values = await url_form(self.context, req)
        try:
            user = await self.context.run(self.submit, req, values)
        except (LibraryError, RateLimited) as error:
            problem = problem_for(error)
            resp.status = problem.status
            resp.set_headers(problem.headers or {})
            await self.render(req, resp, self.template, values=values, error=error)
            return
        await start_session(self.context, req, resp, user)
        self.context.devices.remember(req, resp, addresses.account_of(user.email))
        see(resp, "/")


class SignUp(AccountForm):
    """`/signup`."""

    template = "signup.html"

    def submit(self, req: Request, values: dict[str, str]) -> User:
        self.context.limits.sign_up(req)
        return accounts.sign_up(
            values.get("email", ""),
            values.get("password", ""),
            values.get("name", ""),
            in_house=self.context.settings.auth.in_house_emails,
        )


class LogIn(AccountForm):
    """`/login`."""

    template = "login.html"

    def submit(self, req: Request, values: dict[str, str]) -> User:
        email = values.get("email", "")
        # Attempts are counted for the account, however the address is spelt.
        account = addresses.account_of(email)
        device = self.context.devices.known(req, account)
        self.context.limits.log_in(req, account, device)
        user = accounts.log_in(email, values.get("password", ""))
        self.context.limits.logged_in(req, account, device)
        return user


class LogOut(Page):
    """`/logout`, and `/logout/everywhere`, which ends all sessions and tokens of the user."""

    async def on_get(self, req: Request, resp: Response) -> None:
        if await current_user(self.context, req) is None:
            raise falcon.HTTPSeeOther("/login")
        await self.render(req, resp, "logout.html")

    async def on_post(self, req: Request, resp: Response) -> None:
        await end_session(self.context, req, resp)
        see(resp, "/")

    async def on_post_everywhere(self, req: Request, resp: Response) -> None:
        token = await current_token(self.context, req)
        if token is not None:
            require_scope(token, Scope.ADMIN)
            await self.context.run(tokens.log_out_everywhere, token.user)
        await self.on_post(req, resp)


def see(resp: Response, location: str) -> None:
    """Send the browser to another page."""
    # Raising HTTPSeeOther would drop the cookie that has been set.
    resp.status = falcon.HTTP_303
    resp.location = location
