"""Receiving bodies: uploads, streamed into the cache in constant memory, and small bodies.

A body that stalls, trickles or exceeds the limit is cut off (408, 413). A cached file that no GIF
is made of is removed, also when the client goes away.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import parse_qs

from falcon.asgi import Request
from falcon.asgi.multipart import BodyPart, MultipartForm
from falcon.asgi.reader import BufferedReader
from falcon.media.multipart import MultipartFormHandler, MultipartParseOptions

from gifster.api.adapter import GONE
from gifster.api.bodies import Place
from gifster.api.context import Context, trim
from gifster.api.problems import DATABASE, Problem
from gifster.app import kept_uploads, library
from gifster.app.faults import Fault
from gifster.app.library import Quota
from gifster.app.models import ImageUploader, User
from gifster.app.settings import Web
from gifster.jobs.wording import unknown, wrong
from gifster.uploads import CachedFile
from gifster.uploads.errors import Truncated
from gifster.uploads.files.cache_ids import cache_id, retrieve
from gifster.uploads.files.sources import cache_form_part
from gifster.uploads.remote.downloader import fetch
from gifster.uploads.text import is_text

JSON, MERGE_PATCH = "application/json", "application/merge-patch+json"
MULTIPART, URL_ENCODED = "multipart/form-data", "application/x-www-form-urlencoded"

#: In characters. Every server takes so many (RFC 9110, 4.1).
MAX_URL = 8_000
#: How long the fields beside the file, with the multipart framing, may be (bytes).
SMALL_BYTES = 64 * 1024
READ_BYTES = 16 * 1024
#: A body may come in so many pieces of any size; in more if they have so many bytes on average.
#: Each piece costs some 0.1 ms, and a body can be millions of pieces of one byte (RFC 9112, 7.1).
FREE_PIECES, PIECE_BYTES = 10_000, 64

_options = MultipartParseOptions()
_options.max_body_part_buffer_size = SMALL_BYTES
_options.max_body_part_count = 32
#: The time to read them grows with the square of their length (see `adapter`).
_options.max_body_part_headers_size = 4096
_handler = MultipartFormHandler(_options)


#: Says who sends a form, from the fields before its file; raises if they may not upload.
Admit = Callable[[dict[str, list[str]]], Awaitable[User | None]]


#: An address that somebody has copied may have spaces in it.
_BETWEEN_URLS = re.compile(r"\s*[\r\n]\s*|\s+(?=https?://)", re.IGNORECASE)


@dataclass
class UploadForm:
    """A received form: its text fields, and its cached file, if it had a file."""

    fields: dict[str, list[str]] = field(default_factory=dict)
    cached: CachedFile | None = None
    #: The user who may use the file's cache id, or the address of somebody without an account.
    owner: str = ""
    #: The sender, if the form itself says who that is (`Parts.admit`).
    user: User | None = None

    def first(self, name: str) -> str:
        """The first value of a field, or an empty text."""
        return self.fields.get(name, [""])[0]

    @property
    def urls(self) -> list[str]:
        """The addresses of pictures to fetch, which the page's form takes a line each; also several
        in a line, if each has its scheme. Phones share an address within a `text`."""
        words = self.first("text").split()
        shared = [word for word in words if word.startswith(("http://", "https://"))]
        lines = _BETWEEN_URLS.split(self.first("remote_image_url").strip())
        return [line for line in lines if line] or shared

    def require_image(self) -> CachedFile:
        """The file.

        Raises:
          Problem: 422, the form had no file.
        """
        if self.cached is None:
            raise Problem(422, "image_missing", "Send the file in the multipart field `image`.")
        return self.cached

    def keep(self, user: User | None, quota: Quota | None) -> str:
        """The value of the form's hidden field `image_cache`, with which the form can be sent again
        without its file, which stays in the cache (in a thread).

        It is empty if there is no file, or if the file exceeds the user's quota.
        """
        if self.cached is None:
            return ""
        try:
            kept_uploads.keep(self.cached, user, quota)
        except library.Denied:
            return ""
        text = cache_id(self.cached, self.owner)
        self.cached = None
        return text

    def handed_over(self) -> None:
        """Called at once by the thread that has committed the row. The file belongs to it from now
        on, even if the client has gone."""
        self.cached = None


@dataclass
class Parts:
    """How the parts of one form are read.

    Parameters:
      file: the name of the field that has the file.
      admit: is asked before the file is read, if the form itself says who sends it.
      fetching: whether the file of a URL is fetched. If not, the caller does it, and there may be
        any number of URLs.
      fields: the names that parts may have; empty for any.
    """

    file: str = "image"
    admit: Admit | None = None
    fetching: bool = True
    fields: Collection[str] = ()

    async def admitted(self, form: UploadForm) -> None:
        """Ask once who sends the form."""
        if self.admit is not None:
            form.user, self.admit = await self.admit(form.fields), None

    def check(self, name: str | None, filename: str | None) -> None:
        """Raise `Problem` (422) for a part that the form does not have."""
        if not self.fields or name in self.fields:
            return
        if filename is not None:
            detail = wrong("the field of the file", name or "", self.file)
            raise Problem(422, "image_missing", detail)
        raise Problem(422, "field_unknown", unknown(name or "", self.fields))


@asynccontextmanager
async def upload_form(
    context: Context, req: Request, user: User | None, how: Parts | None = None
) -> AsyncIterator[UploadForm]:
    """Receive a multipart form with a file in the field `image`, with the cache id of a kept file
    in `image_cache` (`UploadForm.keep()`), or with the URL of one in `remote_image_url`.

    The file is removed at the end of the `async with` block, unless it was `handed_over()`. A kept
    file stays until it is used, or too old.

    Parameters:
      user: the sender. Somebody else's `image_cache` is refused.
      how: by default a file in `image`, or a URL, which is fetched here.

    Raises:
      Problem: 503, the database has refused something, and takes no writes yet.
      Problem, MultipartParseError, UploadError: the body is not acceptable.
      TooBusy: too many URLs are being fetched already.
    """
    how = how or Parts()
    require_media_type(req, MULTIPART, hint=f" with a field `{how.file}`")
    limit = ImageUploader.max_bytes + SMALL_BYTES
    length = req.content_length or 0
    if length > limit:
        ImageUploader.check_bytes(length)
    if context.readiness.in_doubt and await context.write(context.readiness.takes_no_writes):
        # Nobody sends megabytes, and waits for a commit, to hear what is known already.
        raise Problem(*DATABASE[Fault.AWAY])
    form = UploadForm(owner=owner_of(context, req, user))
    context.memory.taken()
    try:
        async with context.bodies.place(context.client(req)) as place:
            pieces = guarded(req.stream, context.settings.web, limit, place)
            await _read(context, req, form, pieces, how)
        if form.cached is None and form.first("image_cache"):
            form.cached = await context.check(
                req, retrieve, ImageUploader, form.first("image_cache"), form.owner
            )
        if how.fetching and form.urls:
            if form.cached is not None or len(form.urls) > 1:
                raise _too_many()
            await fetch_into(context, req, form, form.urls[0])
        yield form
    finally:
        if form.cached is not None:
            await context.write(form.cached.discard)
        if context.memory.given_back():
            await context.write(trim)


def owner_of(context: Context, req: Request, user: User | None) -> str:
    """Whom the cache ids of a request are for: the user, or the address of somebody without an
    account."""
    return f"address:{context.limits.address(req)}" if user is None else f"user:{user.id}"


def _too_many() -> Problem:
    return Problem(422, "too_many_images", "Send one image at a time.")


async def fetch_into(context: Context, req: Request, form: UploadForm, url: str) -> None:
    """Give a form the file at a URL. Raises what `fetched()` raises."""
    form.cached = await fetched(context, req, url)


async def fetched(context: Context, req: Request, url: str) -> CachedFile:
    """The file at a URL, in the cache.

    Raises:
      Problem, UploadError, TooBusy: it cannot be fetched.
    """
    if len(url) > MAX_URL:
        raise Problem(422, "remote_url_invalid", f"A URL has at most {MAX_URL:,} characters.")
    return await context.fetch(req, fetch, ImageUploader, url)


async def _read(
    context: Context, req: Request, form: UploadForm, pieces: AsyncIterator[bytes], how: Parts
) -> None:
    """Read all parts of a form."""
    parts: MultipartForm = await _handler.deserialize_async(
        BufferedReader(pieces, READ_BYTES), req.content_type, req.content_length
    )
    iterator = aiter(parts)
    async for part in iterator:
        try:
            await _take_part(context, req, form, part, how)
        except Truncated:
            # If the whole body was cut off, not only the image, reading on says so.
            await anext(iterator, None)
            raise
    await how.admitted(form)


async def _take_part(
    context: Context, req: Request, form: UploadForm, part: BodyPart, how: Parts
) -> None:
    try:
        name, filename = part.name, part.filename
    except UnicodeDecodeError:
        raise Problem(400, "not_utf8", "The name of a field or a file is not UTF-8.") from None
    how.check(name, filename)
    if name == how.file and filename is not None:
        if form.cached is not None:
            raise _too_many()
        await how.admitted(form)
        check = partial(context.check, req)
        form.cached = await cache_form_part(ImageUploader, part, context.write, check)
    elif name and filename is None:
        try:
            text = (await part.get_data()).decode("utf-8")
        except UnicodeDecodeError:
            raise Problem(400, "not_utf8", f"The field {name!r} is not UTF-8.") from None
        require_text(name, text)
        form.fields.setdefault(name, []).append(text)


async def guarded(
    stream: AsyncIterable[bytes], limits: Web, max_bytes: int, place: Place | None = None
) -> AsyncIterator[bytes]:
    """A body's chunks, as long as they come fast enough and are not too many.

    Parameters:
      place: of an upload's body; it learns how much has come.

    Raises:
      Problem: 408 for a body that stalls for `body_stall_s` seconds, or that after that time
        averages less than `body_min_bytes_per_s`; 413 for a body of more than `max_bytes`; 400 for
        a body in far too many pieces.
    """
    started = time.monotonic()
    received = pieces = 0
    watch = _Watch(limits.body_stall_s)
    chunks = aiter(stream)
    try:
        while True:
            watch.waits()
            try:
                chunk = await anext(chunks)
            except StopAsyncIteration:
                return
            except asyncio.CancelledError:
                watch.raise_if_stalled()
                raise
            elapsed = watch.came() - started
            received, pieces = received + len(chunk), pieces + 1
            if place is not None:
                place.received = received
            if received > max_bytes:
                raise Problem(413, "too_large", f"The body is larger than {max_bytes:,} bytes.")
            if pieces > FREE_PIECES and received < pieces * PIECE_BYTES:
                raise Problem(400, "body_in_crumbs", "The body comes in too many small pieces.")
            if elapsed > limits.body_stall_s and received < elapsed * limits.body_min_bytes_per_s:
                raise Problem(408, "body_too_slow", "The upload was too slow.")
            yield chunk
    finally:
        watch.end()


class _Watch:
    """Cancels a task that waits too long for a chunk. It does what `asyncio.timeout()` does, but
    needs one timer for a body instead of one for each chunk.

    Parameters:
      stall_s: how long is too long (seconds).
    """

    def __init__(self, stall_s: float) -> None:
        self._stall_s, self._stalled = stall_s, False
        self._task = asyncio.current_task()
        self._loop = asyncio.get_running_loop()
        #: Since when the task waits; None while it does something else.
        self._since: float | None = None
        self._timer = self._loop.call_later(stall_s, self._look)

    def waits(self) -> None:
        self._since = time.monotonic()

    def came(self) -> float:
        """A chunk came. Returns the time."""
        self._since = None
        return time.monotonic()

    def _look(self) -> None:
        now = time.monotonic()
        waited = 0.0 if self._since is None else now - self._since
        if waited >= self._stall_s and self._task is not None:
            self._stalled = True
            self._task.cancel()
            return
        self._timer = self._loop.call_later(max(0.01, self._stall_s - waited), self._look)

    def raise_if_stalled(self) -> None:
        """Raise `Problem` (408) if it was this watch that cancelled the task, and nobody else."""
        if self._stalled and self._task is not None and self._task.uncancel() <= 0:
            raise Problem(408, "body_stalled", "The upload stalled for too long.") from None

    def end(self) -> None:
        self._timer.cancel()


def media_type(req: Request) -> str:
    """A body's media type in lower case, without parameters (RFC 9110, 8.3.1); "" if it has
    none."""
    return str(req.content_type or "").partition(";")[0].strip().lower()


def require_media_type(req: Request, *taken: str, hint: str = "") -> None:
    """Refuse a body of another media type than those given.

    Parameters:
      hint: more about the body that is wanted, for people.

    Raises:
      Problem: 415, with the accepted types; for a PATCH also in `Accept-Patch` (RFC 5789).
    """
    sent = media_type(req)
    if sent in taken:
        return
    said = f"The body is {sent[:100]!a}" if sent else "The body has no Content-Type"
    detail = f"{said}. Send {' or '.join(taken)}{hint}."
    headers = {"Accept-Patch": ", ".join(taken)} if req.method == "PATCH" else None
    raise Problem(415, "content_type_unsupported", detail, headers=headers)


async def small_body(context: Context, req: Request) -> bytes:
    """A body of at most 64 KiB.

    Raises:
      Problem: 413, 408; 400 for a body that ends too early (RFC 9112, 8).
    """
    if (req.content_length or 0) > SMALL_BYTES:
        raise Problem(413, "too_large", f"The body is larger than {SMALL_BYTES:,} bytes.")
    body = b"".join(
        [chunk async for chunk in guarded(req.stream, context.settings.web, SMALL_BYTES)]
    )
    if GONE in req.scope or len(body) < (req.content_length or 0):
        raise Problem(400, "body_incomplete", "The body ends too early.")
    return body


async def url_form(context: Context, req: Request) -> dict[str, str]:
    """The fields of a page's form without files. If a field is repeated, its first value counts.

    Raises:
      Problem: as `url_fields()`.
    """
    return {name: values[0] for name, values in (await url_fields(context, req)).items()}


async def url_fields(context: Context, req: Request, most: int = 32) -> dict[str, list[str]]:
    """The fields of a page's form without files, each with all its values.

    Parameters:
      most: how many values the form may have.

    Raises:
      Problem: 415 for another media type, 400 for a malformed form or text.
    """
    require_media_type(req, URL_ENCODED)
    try:
        fields = parse_qs((await small_body(context, req)).decode("utf-8"), max_num_fields=most)
    except ValueError:
        raise Problem(400, "form_malformed", "The form cannot be read.") from None
    require_text(*fields, *(value for values in fields.values() for value in values))
    return fields


def require_text(*texts: str) -> None:
    """Refuse text that PostgreSQL or UTF-8 cannot hold. JSON, forms, queries and paths come through
    here; what a text may say beyond that is decided in `app/texts.py`.

    Raises:
      Problem: 400, one of the texts has a NUL or a lone surrogate.
    """
    if not all(map(is_text, texts)):
        raise Problem(
            400, "text_malformed", "A text has a NUL character or half of a surrogate pair."
        )
