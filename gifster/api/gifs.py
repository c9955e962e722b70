"""GIFs by HTTP: `/api/gifs`, `/api/gifs/{id}`, `/api/gifs/{id}/image`; and a GIF as JSON.

An upload's way: `Gifs.on_post` asks `auth` whether this client may upload now, `receive` streams
the form's file into the cache, `library.add_gif()` commits the row with its job, and the answer is
202.
"""

from collections.abc import Sequence
from typing import cast

import falcon
from falcon.asgi import Request, Response

from gifster.api import schemas
from gifster.api.auth import require_editor, require_uploader, viewer_of
from gifster.api.bodies import JSON, MERGE_PATCH, MULTIPART, media_type, require_media_type
from gifster.api.context import Context
from gifster.api.described import described, image_of_edited
from gifster.api.receive import Parts, UploadForm, fetch_into, upload_form
from gifster.api.requests import EditGif, FetchGif, GifQuery, PatchGif, ReplaceImage, UploadGif
from gifster.api.validation import json_body, query
from gifster.app import (
    collections,
    edits,
    library,
    lists,
    near_duplicates,
    originals,
    search,
    texts,
)
from gifster.app.access import STRANGER, Viewer, is_for_everybody, may_edit
from gifster.app.damaged_text import Unreadable
from gifster.app.library import Quota
from gifster.app.models import Gif, User, rfc3339
from gifster.app.texts import Rating, Visibility
from gifster.uploads.columns.rows import log_unreadable


def accept_upload(
    form: UploadForm, user: User | None, quota: Quota | None
) -> tuple[Gif, list[str]]:
    """The GIF made of a received form, and its tags. It is work for `Context.commit()`."""
    tags = [tag for field in form.fields.get("tags", []) for tag in texts.split_tags(field)]
    cached, names = form.require_image(), texts.tag_names(tags)
    gif = library.add_gif(
        cached,
        title=form.first("title"),
        tags=names,
        alt_text=form.first("alt_text"),
        rating=form.first("rating") or Rating.G,
        visibility=form.first("visibility") or Visibility.PUBLIC,
        edit=edits.read_form(form.first),
        user=user,
        quota=quota,
    )
    return gif, names


#: The versions among which a card of the gallery chooses. A GIF has thirteen.
OF_CARDS = frozenset({"thumb", "tinywebp", "tinymp4", "tinyposter"})


def gif_json(  # noqa: PLR0913 each is a part of it that was fetched for many
    gif: Gif,
    tags: list[str],
    duplicate_of: str | None,
    uploader: str | None,
    origin: str = "",
    *,
    viewer: Viewer = STRANGER,
    only: frozenset[str] | None = None,
) -> schemas.Gif:
    """A GIF as JSON.

    Parameters:
      tags: those of the GIF.
      duplicate_of: the id of an older GIF that is the same file.
      uploader: the name of the GIF's user; None for a GIF without one.
      viewer: who reads it. Not everybody gets the original of a GIF with an edit, nor the edit.
      origin: what its URLs begin with (`Context.origin()`); empty for a page.
      only: the names of the versions that are wanted; None for all.
    """
    stored, failure = next(iter(Gif.image.stored_files(gif)), None), gif.image_error
    original = may_edit(gif.user_id, viewer)
    told, image = None, None
    if stored is not None:
        told = described(stored, origin, only, for_everybody=is_for_everybody(gif))
        image = told.image
        if originals.is_edited(stored, gif.edit):
            image = image_of_edited(gif, stored, origin, original=original)
    return {
        "id": gif.id,
        "title": gif.title,
        "tags": tags,
        "alt_text": gif.alt_text,
        "rating": gif.rating,
        "visibility": gif.visibility,
        "hidden": gif.hidden_from is not None,
        "user": None if uploader is None else {"id": gif.user_id or "", "name": uploader},
        "state": gif.image_state or "queued",
        "created_at": rfc3339(gif.created_at),
        "trashed_at": gif.trashed_at and rfc3339(gif.trashed_at),
        "edit": cast("schemas.Edit", gif.edit.as_json()) if gif.edit and original else None,
        "image": image,
        "versions": {} if told is None else told.versions,
        "placeholder": None if told is None else told.placeholder,
        "error": {"code": failure.code, "message": failure.message} if failure else None,
        "duplicate_of": duplicate_of,
    }


def gifs_json(
    gifs: Sequence[Gif], viewer: Viewer = STRANGER, origin: str = ""
) -> list[schemas.Gif]:
    """GIFs as JSON, with one query for all their tags, one for their duplicates and one for their
    users. Those that cannot be read are left out.

    Parameters:
      viewer: who reads it. It names no GIF that the viewer may not see.
      origin: what its URLs begin with (`Context.origin()`); empty for a page.
    """
    return _each_as_json(gifs, gifs, viewer, origin)


def one_json(gif: Gif, viewer: Viewer = STRANGER) -> schemas.Gif:
    """A GIF as JSON for a page.

    Raises:
      Unreadable: the key or the storage of a file is none.
    """
    found = _each_as_json([gif], [gif], viewer, is_list=False)
    return found[0]


def cards_json(gifs: Sequence[Gif], viewer: Viewer) -> list[schemas.Gif]:
    """The same for cards. A duplicate is named only to those who may delete it: for others it is a
    GIF like any other."""
    own = [gif for gif in gifs if may_edit(gif.user_id, viewer)]
    return _each_as_json(gifs, own, viewer, only=OF_CARDS)


def _each_as_json(  # noqa: PLR0913 each is a part of it
    gifs: Sequence[Gif],
    compared: Sequence[Gif],
    viewer: Viewer,
    origin: str = "",
    only: frozenset[str] | None = None,
    *,
    is_list: bool = True,
) -> list[schemas.Gif]:
    tags, names = lists.tags_of(gifs), lists.uploaders_of(gifs)
    older = near_duplicates.oldest_copies(compared, viewer.user_id)
    made = []
    for gif in gifs:
        name, duplicate_of = names.get(gif.user_id or ""), older.get(gif.id)
        try:
            told = gif_json(gif, tags[gif.id], duplicate_of, name, origin, viewer=viewer, only=only)
        except Unreadable as error:
            if not is_list:
                raise
            log_unreadable(Gif, gif.id, error)
        else:
            made.append(told)
    return made


def whole_json(
    gif: Gif,
    viewer: Viewer,
    origin: str,
    tags: list[str] | None = None,
    uploader: User | None = None,
) -> schemas.WholeGif:
    """A GIF as JSON, with the ids of its near duplicates.

    Parameters:
      viewer: who reads it, as in `gifs_json()`.
      origin: what its URLs begin with (`Context.origin()`).
      tags: those of the GIF, if they are known already.
      uploader: the GIF's user, if that is known already.
    """
    known = lists.tags_of([gif])[gif.id] if tags is None else tags
    name = uploader.name if uploader else lists.uploaders_of([gif]).get(gif.user_id or "")
    older = near_duplicates.oldest_copy(gif, viewer.user_id)
    similar = near_duplicates.near_duplicates_of(gif, user_id=viewer.user_id)
    told = gif_json(gif, known, older, name, origin, viewer=viewer)
    return {**told, "similar": [other.id for other in similar]}


def locale_of(req: Request) -> str:
    """The first language that a client prefers (RFC 9110, 12.5.4), such as `de-CH`; empty if it
    does not say so."""
    preferred = (req.get_header("Accept-Language") or "").partition(",")[0].partition(";")[0]
    return preferred.strip()[:20]


class Gifs:
    """`GET` a list, `POST` an upload."""

    def __init__(self, context: Context) -> None:
        self.context = context

    async def on_get(self, req: Request, resp: Response) -> None:
        asked, origin = query(req, GifQuery), self.context.origin(req)
        viewer, client = await viewer_of(self.context, req), self.context.client(req)

        def work() -> schemas.GifList:
            gifs, following = self._found(asked, viewer, locale_of(req))
            if gifs and asked.q and not asked.cursor:
                search.searched(asked.q, client=client)
            return {"items": gifs_json(gifs, viewer, origin), "next": following}

        resp.media = await self.context.run(work)

    def _found(self, asked: GifQuery, viewer: Viewer, locale: str) -> tuple[list[Gif], str | None]:
        wanted = asked.model_dump(exclude={"collection", "type"}) | {"kind": asked.type}
        if not asked.collection:
            return lists.list_gifs(**wanted, locale=locale)
        collection = collections.get(asked.collection, viewer)
        if any(wanted[name] for name in ("q", "user", "kind", "rating", "sort")):
            among = collections.ids_in(collection)
            return lists.list_gifs(**wanted, locale=locale, among=among)
        mine = {name: wanted[name] for name in ("tag", "cursor", "limit")}
        return collections.gifs_in(collection, viewer, **mine)

    async def on_post(self, req: Request, resp: Response) -> None:
        user, origin = await require_uploader(self.context, req), self.context.origin(req)
        require_media_type(req, MULTIPART, JSON)
        if media_type(req) == JSON:
            wish = await json_body(self.context, req, FetchGif)
            _accepted(resp, await self._fetch(req, wish, user))
            return

        def work() -> schemas.WholeGif:
            gif, names = accept_upload(form, user, self.context.quota)
            return whole_json(gif, Viewer(gif.user_id), origin, names, user)

        how = Parts(fields=UploadGif.model_fields)
        async with upload_form(self.context, req, user, how) as form:
            _accepted(resp, await self.context.commit(work, form.handed_over))

    async def _fetch(self, req: Request, wish: FetchGif, user: User | None) -> schemas.WholeGif:
        names, edit = texts.tag_names(wish.tags or []), edits.read(wish.edit)
        form, origin = UploadForm(), self.context.origin(req)

        def work() -> schemas.WholeGif:
            gif = library.add_gif(
                form.require_image(),
                title=wish.title or "",
                tags=names,
                alt_text=wish.alt_text or "",
                rating=wish.rating or Rating.G,
                visibility=wish.visibility or Visibility.PUBLIC,
                edit=edit,
                user=user,
                quota=self.context.quota,
            )
            return whole_json(gif, Viewer(gif.user_id), origin, names, user)

        try:
            await fetch_into(self.context, req, form, wish.remote_image_url)
            return await self.context.commit(work, form.handed_over)
        finally:
            await form.discard(self.context)


class OneGif:
    """`GET`, `PATCH` (title, tags, alternative text, rating, visibility, edit), `DELETE`."""

    def __init__(self, context: Context) -> None:
        self.context = context

    async def on_get(self, req: Request, resp: Response, gif_id: str) -> None:
        viewer, origin = await viewer_of(self.context, req), self.context.origin(req)

        def work() -> schemas.WholeGif:
            return whole_json(library.get_gif(gif_id, viewer), viewer, origin)

        resp.media = await self.context.run(work)

    async def on_patch(self, req: Request, resp: Response, gif_id: str) -> None:
        editor = await require_editor(self.context, req)
        await self.context.run_unconnected(self.context.limits.edit, req, editor.user)
        model = PatchGif if media_type(req) == MERGE_PATCH else EditGif
        changes = await json_body(self.context, req, model, MERGE_PATCH)
        origin = self.context.origin(req)

        def work() -> schemas.WholeGif:
            names = None if changes.tags is None else texts.tag_names(changes.tags)
            gif = library.edit_gif(
                gif_id,
                editor.user,
                title=changes.title,
                tags=names,
                alt_text=changes.alt_text,
                rating=changes.rating,
                visibility=changes.visibility,
                edit=changes.edit_change(),
                reach=editor.reach,
                reason=editor.reason,
            )
            return whole_json(gif, editor.viewer, origin, names)

        resp.media = await self.context.run(work)

    async def on_delete(self, req: Request, resp: Response, gif_id: str) -> None:
        editor = await require_editor(self.context, req)
        await self.context.run(library.delete_gif, gif_id, editor.user, editor.reach, editor.reason)
        resp.status = falcon.HTTP_204


class GifImage:
    """`PUT` another image in place of the present one."""

    def __init__(self, context: Context) -> None:
        self.context = context

    async def on_put(self, req: Request, resp: Response, gif_id: str) -> None:
        editor, origin = await require_editor(self.context, req), self.context.origin(req)
        # Before the body is read.
        await self.context.run_unconnected(self.context.limits.upload, req, editor.user)
        await self.context.run(library.gif_to_change, gif_id, editor.user, editor.reach)

        def work() -> schemas.WholeGif:
            cached = form.require_image()
            quota, reach = self.context.quota, editor.reach
            gif = library.replace_image(
                gif_id, editor.user, cached, quota, reach, reason=editor.reason
            )
            return whole_json(gif, editor.viewer, origin)

        how = Parts(fields=ReplaceImage.model_fields)
        async with upload_form(self.context, req, editor.user, how) as form:
            _accepted(resp, await self.context.commit(work, form.handed_over))


def _accepted(resp: Response, gif: schemas.WholeGif) -> None:
    resp.status = falcon.HTTP_202
    resp.media = gif
    resp.location = f"/api/gifs/{gif['id']}"
