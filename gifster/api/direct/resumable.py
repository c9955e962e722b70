"""`/api/uploads` and `/api/uploads/{upload_id}`: resumable uploads, by tus 1.0.

`POST` begins an upload: its `Upload-Metadata` has the file's name and the fields of the upload
form, or the GIF whose image it `replaces`. `PATCH` brings content, `HEAD` says how far it is,
`DELETE` ends it. The `PATCH` that brings the last byte makes the GIF or replaces its image, and its
204 promises what the 202 of `POST /api/gifs` does; `GET` then has the GIF.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

import falcon
from falcon.asgi import Request, Response

from gifster.api import schemas
from gifster.api.auth import (
    require_editor,
    require_token,
    require_uploader,
    require_writer,
    viewer_of,
)
from gifster.api.context import Context
from gifster.api.direct.bodies import receive
from gifster.api.gifs import accept_upload, whole_json
from gifster.api.problems import Problem
from gifster.api.receive import UploadForm
from gifster.app import details, direct, edits, library, texts
from gifster.app.access import Viewer
from gifster.app.errors import Invalid, NotFound
from gifster.app.models import Gif, ImageUploader, User
from gifster.app.texts import Rating, Visibility
from gifster.app.tokens import Scope
from gifster.uploads import UploadError
from gifster.uploads.resumable import protocol, rows
from gifster.uploads.resumable.receiving import Receiver
from gifster.uploads.resumable.table import ResumableUpload, Stage

#: The header of the answer to the request that completes an upload: the id of the GIF.
GIF = "Gifster-Gif"
#: The name in `Upload-Metadata` of the GIF whose image is to be replaced.
REPLACES = "replaces"

Responder = Callable[[Request, Response, str], Awaitable[None]]


class Uploads:
    """`POST` begins an upload; `GET` lists one's own unfinished ones."""

    def __init__(self, context: Context) -> None:
        self.context = context

    async def on_options(self, req: Request, resp: Response) -> None:
        resp.set_headers(protocol.of_server(ImageUploader.max_bytes))
        resp.set_header("Allow", "GET, POST, OPTIONS")
        resp.status = falcon.HTTP_204

    async def on_get(self, req: Request, resp: Response) -> None:
        user = (await require_token(self.context, req, Scope.WRITE)).user
        uploads = await self.context.run(direct.unfinished, user)
        items = [await told_of(self.context, req, upload) for upload in uploads]
        resp.media = {"items": items, "next": None}

    async def on_post(self, req: Request, resp: Response) -> None:
        headers = spoken(req, resp)
        length, metadata = protocol.length_of(headers), headers.get("upload-metadata", "")
        form = form_of(metadata)
        checksum = protocol.checksum_of(headers)
        told = protocol.metadata_of(metadata)
        content_type = told.get("filetype") or told.get("type") or ""
        ImageUploader.check_declared(protocol.filename_of(metadata), length, content_type)
        replaced = form.first(REPLACES)
        if replaced:
            user = await require_replacer(self.context, req, replaced)
        else:
            user = await require_uploader(self.context, req)
            check_details(form, user)
        begin = partial(direct.begin, length, metadata, user, self.context.quota)
        upload = await self.context.run(begin, self.lives_s, gifs=0 if replaced else 1)
        if protocol.has_content(headers):
            receiver = Receiver(ImageUploader, upload, 0, checksum)
            try:
                await take_body(self.context, req, resp, receiver, user)
            except BaseException:
                # The client has no address of it, and it would count for the quota.
                with suppress(Exception):  # what was refused is told all the same: then it expires
                    await terminate(self.context, upload)
                raise
        resp.status, resp.location = falcon.HTTP_201, f"/api/uploads/{upload.id}"
        resp.set_headers(protocol.of_progress(upload))
        resp.media = await told_of(self.context, req, upload)

    @property
    def lives_s(self) -> int:
        """How long an upload without progress is kept (seconds)."""
        return self.context.settings.uploads.unfinished_hours * 3600


class OneUpload:
    """`HEAD`, `PATCH`, `DELETE`, and a `GET` that tells all as JSON."""

    def __init__(self, context: Context) -> None:
        self.context = context

    async def on_options(self, req: Request, resp: Response, upload_id: str) -> None:
        resp.set_headers(protocol.of_server(ImageUploader.max_bytes))
        resp.set_header("Allow", "GET, HEAD, PATCH, DELETE, OPTIONS")
        resp.status = falcon.HTTP_204

    async def on_get(self, req: Request, resp: Response, upload_id: str) -> None:
        upload, _ = await self._upload(req, upload_id)
        resp.media = await told_of(self.context, req, upload)

    async def on_head(self, req: Request, resp: Response, upload_id: str) -> None:
        spoken(req, resp)
        upload, _ = await self._upload(req, upload_id)
        check_not_failed(upload)
        resp.set_headers(protocol.of_upload(upload))
        resp.media = await told_of(self.context, req, upload)

    async def on_patch(self, req: Request, resp: Response, upload_id: str) -> None:
        headers = spoken(req, resp)
        protocol.check_content_type(headers)
        offset, checksum = protocol.offset_of(headers), protocol.checksum_of(headers)
        upload, user = await self._upload(req, upload_id)
        check_not_failed(upload)
        if upload.stage != Stage.DONE or offset != upload.length:  # else it came twice
            receiver = Receiver(ImageUploader, upload, offset, checksum)
            await take_body(self.context, req, resp, receiver, user)
        resp.set_headers(protocol.of_progress(upload))
        resp.status = falcon.HTTP_204

    async def on_delete(self, req: Request, resp: Response, upload_id: str) -> None:
        spoken(req, resp)
        upload, _ = await self._upload(req, upload_id)
        await terminate(self.context, upload)
        resp.status = falcon.HTTP_204

    async def on_post(self, req: Request, resp: Response, upload_id: str) -> None:
        """A request of a client that can send no other method."""
        meant = protocol.method_of("POST", req.headers_lower)
        responders: dict[str, Responder] = {
            "PATCH": self.on_patch, "DELETE": self.on_delete, "HEAD": self.on_head
        }  # fmt: skip
        if meant not in responders:
            raise falcon.HTTPMethodNotAllowed(["GET", "HEAD", "PATCH", "DELETE", "OPTIONS"])
        await responders[meant](req, resp, upload_id)

    async def _upload(self, req: Request, upload_id: str) -> tuple[ResumableUpload, User | None]:
        user = await require_writer(self.context, req)
        return await self.context.run(direct.find, upload_id, user), user


async def require_replacer(context: Context, req: Request, gif_id: str) -> User | None:
    """The user, who may replace the image of a GIF now; None for somebody who is not logged in.

    Raises:
      Problem, LibraryError, RateLimited: they may not, or there is no such GIF.
    """
    editor = await require_editor(context, req)
    await context.run_unconnected(context.limits.upload, req, editor.user)
    await context.run(library.gif_to_change, gif_id, editor.user, editor.reach)
    return editor.user


def spoken(req: Request, resp: Response) -> dict[str, str]:
    """The headers of a request that speaks our version of tus, by their names in lower case.

    Raises:
      ProtocolError: 412, it speaks another.
    """
    resp.set_header("Tus-Resumable", protocol.VERSION)
    headers = dict(req.headers_lower)
    protocol.check_version(headers)
    return headers


def form_of(metadata: str) -> UploadForm:
    """An upload's metadata, as the fields of a form.

    Raises:
      ProtocolError: 400, they are malformed.
    """
    values = protocol.metadata_of(metadata)
    return UploadForm(fields={name: [value] for name, value in values.items()})


def check_details(form: UploadForm, user: User | None) -> None:
    """Refuse a title, tags and so on that the GIF could not have, before its file comes.

    Raises:
      Invalid: one of them is invalid.
    """
    texts.title(form.first("title"))
    texts.tag_names(
        [tag for field in form.fields.get("tags", []) for tag in texts.split_tags(field)]
    )
    texts.alt_text(form.first("alt_text"))
    texts.rating(form.first("rating") or Rating.G)
    visibility = texts.visibility(form.first("visibility") or Visibility.PUBLIC)
    if visibility == Visibility.PRIVATE and user is None:
        raise details.private_needs_owner()
    edits.read_form(form.first)


def check_not_failed(upload: ResumableUpload) -> None:
    """Raises `Problem` (410) for an upload that was refused."""
    if upload.stage == Stage.FAILED:
        raise Problem(410, upload.outcome["code"], upload.outcome["message"])


async def take_body(
    context: Context, req: Request, resp: Response, receiver: Receiver, user: User | None
) -> None:
    """Receive a request's body, and make the GIF if the upload is complete.

    Raises:
      Problem, ProtocolError, OffsetMoved, UploadError, LibraryError: it cannot be taken.
    """
    upload = receiver.upload
    try:
        await receive(context, req, receiver)
        if receiver.is_complete:
            resp.set_header(GIF, await make_gif(context, req, receiver, user))
    except (UploadError, Invalid, NotFound) as error:
        # However often it is sent, it will be refused. A used-up quota is another matter.
        await context.run(rows.note_failure, upload, error)
        await context.write(rows.delete_parts, upload, upload.parts)
        raise


async def terminate(context: Context, upload: ResumableUpload) -> None:
    """Do what `rows.terminate()` does: a bucket that hangs occupies no thread that answers other
    requests."""
    parts = await context.run(rows.forget, upload)
    await context.write(rows.delete_parts, upload, parts)


async def make_gif(context: Context, req: Request, receiver: Receiver, user: User | None) -> str:
    """The id of the GIF that is made of a complete upload, or whose image it replaces."""
    upload, form = receiver.upload, form_of(receiver.upload.metadata)
    replaced, editor = form.first(REPLACES), await require_editor(context, req)
    owner = None if upload.owner == "" else user

    def take() -> Gif:
        if not replaced:
            return accept_upload(form, owner, context.quota)[0]
        image, reason = form.require_image(), form.first("reason") or editor.reason
        return library.replace_image(
            replaced, editor.user, image, context.quota, editor.reach, reason=reason
        )

    def work() -> Gif:
        return direct.take(upload, take)

    try:
        await context.check(req, form.take, receiver.assemble)
        gif = await context.commit(work, form.handed_over)
    finally:
        await form.discard(context)
    await context.write(rows.finished, upload, {"gif": gif.id})
    return gif.id


async def told_of(
    context: Context, req: Request, upload: ResumableUpload
) -> schemas.ResumableUpload:
    """An upload as JSON, with its GIF once that is made."""
    viewer, origin = await viewer_of(context, req), context.origin(req)
    outcome = upload.outcome or {}

    def gif() -> schemas.WholeGif | None:
        # Who may go on with the upload may see what became of it.
        seer = Viewer(upload.owner or viewer.user_id, viewer.reach)
        try:
            return whole_json(library.get_gif(outcome["gif"], seer), seer, origin)
        except NotFound:
            return None

    done, failed = upload.stage == Stage.DONE, upload.stage == Stage.FAILED
    return {
        "id": upload.id,
        "filename": protocol.filename_of(upload.metadata),
        "offset": upload.received,
        "length": upload.length,
        "expires_at": rows.expiry(upload),
        "gif": await context.run(gif) if done else None,
        "error": {"code": outcome["code"], "message": outcome["message"]} if failed else None,
    }
