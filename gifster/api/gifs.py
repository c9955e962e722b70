"""The HTTP API of GIFs: `/api/gifs`, `/api/gifs/{id}`, `/api/gifs/{id}/image`."""

import re
from typing import Any

import falcon

from gifster.api.auth import require_editor, require_uploader
from gifster.api.context import Context
from gifster.api.problems import Problem
from gifster.api.receive import (
    JSON,
    MERGE_PATCH,
    MULTIPART,
    UploadForm,
    json_object,
    media_type,
    require_media_type,
    upload_form,
)
from gifster.api.representation import gifs_json, whole_json
from gifster.app import library, texts
from gifster.app.library import Quota
from gifster.app.models import Gif, ImageUploader, User
from gifster.uploads.remote import fetch

#: What every server can be asked for (RFC 9110, 4.1).
MAX_URL = 8_000
#: What a null in a merge patch makes of a field (RFC 7396); in other JSON it changes nothing.
_REMOVED: dict[str, Any] = {"title": "", "tags": []}


def accept_upload(form: UploadForm, user: User | None, quota: Quota | None) -> Gif:
    """Make a GIF of a received form (in a thread)."""
    tags = [tag for field in form.fields.get("tags", []) for tag in texts.split_tags(field)]
    cached, title = form.require_image(), form.first("title")
    gif = library.add_gif(cached, title=title, tags=tags, user=user, quota=quota)
    form.handed_over()
    return gif


def asked_limit(req: Any) -> int:
    """How many a list is asked for; 0, which none takes, if that is no number."""
    text = req.get_param("limit", default="30")
    return int(text) if re.fullmatch("[0-9]{1,3}", text) else 0


class Gifs:
    """`GET` a list, `POST` an upload."""

    def __init__(self, context: Context) -> None:
        self.context = context

    async def on_get(self, req: Any, resp: Any) -> None:
        limit = asked_limit(req)

        def work() -> dict[str, Any]:
            gifs, following = library.list_gifs(
                q=req.get_param("q") or "",
                tag=req.get_param("tag") or "",
                cursor=req.get_param("cursor") or "",
                limit=limit,
            )
            return {"items": gifs_json(gifs), "next": following}

        resp.media = await self.context.run(work)

    async def on_post(self, req: Any, resp: Any) -> None:
        user = await require_uploader(self.context, req)
        require_media_type(req, MULTIPART, JSON)
        if media_type(req) == JSON:
            gif = await self._fetch(req, await json_object(self.context, req), user)
            await _answer(self.context, resp, gif, falcon.HTTP_202)
            return
        async with upload_form(self.context, req, user) as form:
            gif = await self.context.run(accept_upload, form, user, self.context.quota)
        await _answer(self.context, resp, gif, falcon.HTTP_202)

    async def _fetch(self, req: Any, document: dict[str, Any], user: User | None) -> Gif:
        url = document.pop("remote_image_url", None)
        if not isinstance(url, str):
            raise Problem(422, "image_missing", "Send the URL of an image as remote_image_url.")
        if len(url) > MAX_URL:
            raise Problem(422, "remote_url_invalid", f"A URL has at most {MAX_URL:,} characters.")
        title, tags = _title_and_tags(document)
        cached = await self.context.fetch(req, fetch, ImageUploader, url)
        try:
            return await self.context.run(
                library.add_gif,
                cached,
                title=title or "",
                tags=tags or [],
                user=user,
                quota=self.context.quota,
            )
        except Exception:  # not a client that has gone: the row may be there
            await self.context.run_unconnected(cached.delete)
            raise


class OneGif:
    """`GET`, `PATCH` (title, tags), `DELETE`."""

    def __init__(self, context: Context) -> None:
        self.context = context

    async def on_get(self, req: Any, resp: Any, gif_id: str) -> None:
        def work() -> dict[str, Any]:
            return whole_json(library.get_gif(gif_id))

        resp.media = await self.context.run(work)

    async def on_patch(self, req: Any, resp: Any, gif_id: str) -> None:
        editor = await require_editor(self.context, req)
        await self.context.run_unconnected(self.context.limits.edit, req, editor.user)
        changes = await json_object(self.context, req, MERGE_PATCH)
        if media_type(req) == MERGE_PATCH:
            changes = {name: _REMOVED.get(name) if value is None else value
                       for name, value in changes.items()}  # fmt: skip
        title, tags = _title_and_tags(changes)
        gif = await self.context.run(
            library.edit_gif, gif_id, editor.user, title=title, tags=tags, reach=editor.reach
        )
        await _answer(self.context, resp, gif, falcon.HTTP_200)

    async def on_delete(self, req: Any, resp: Any, gif_id: str) -> None:
        editor = await require_editor(self.context, req)

        await self.context.run(library.delete_gif, gif_id, editor.user, editor.reach)
        resp.status = falcon.HTTP_204


class GifImage:
    """`PUT` another image in place of the present one."""

    def __init__(self, context: Context) -> None:
        self.context = context

    async def on_put(self, req: Any, resp: Any, gif_id: str) -> None:
        editor = await require_editor(self.context, req)

        # Before the body is read.
        await self.context.run_unconnected(self.context.limits.upload, req, editor.user)
        await self.context.run(library.gif_to_change, gif_id, editor.user, editor.reach)
        async with upload_form(self.context, req, editor.user) as form:

            def work() -> Gif:
                cached = form.require_image()
                gif = library.replace_image(
                    gif_id, editor.user, cached, self.context.quota, editor.reach
                )
                form.handed_over()
                return gif

            gif = await self.context.run(work)
        await _answer(self.context, resp, gif, falcon.HTTP_202)


def _title_and_tags(document: dict[str, Any]) -> tuple[str | None, list[str] | None]:
    title, tags = document.get("title"), document.get("tags")
    if unknown := set(document) - {"title", "tags"}:
        raise Problem(422, "field_unknown", f"There is no field {sorted(unknown)[0][:40]!r}.")
    if title is not None and not isinstance(title, str):
        raise Problem(422, "title_invalid", "title must be a text.")
    if tags is not None and not (
        isinstance(tags, list) and all(isinstance(tag, str) for tag in tags)
    ):
        raise Problem(422, "tags_invalid", "tags must be a list of texts.")
    return title, tags


async def _answer(context: Context, resp: Any, gif: Gif, status: str) -> None:
    resp.status = status
    resp.media = await context.run(whole_json, gif)
    if status == falcon.HTTP_202:
        resp.location = f"/api/gifs/{gif.id}"
