"""Receiving uploads: forms with a file, which is streamed into the cache in constant memory.

A cached file that no GIF is made of is removed, also when the client goes away.
"""

import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

from falcon.asgi import Request
from falcon.asgi.multipart import BodyPart, MultipartForm
from falcon.asgi.reader import BufferedReader
from falcon.media.multipart import MultipartFormHandler, MultipartParseOptions

from gifster.api.bodies import MULTIPART, SMALL_BYTES, guarded, require_media_type, require_text
from gifster.api.context import Context, trim
from gifster.api.problems import DATABASE, Problem
from gifster.app import kept_uploads, library
from gifster.app.library import Quota
from gifster.app.models import ImageUploader, User
from gifster.jobs.database_errors import Fault
from gifster.jobs.wording import unknown, wrong
from gifster.uploads import CachedFile, StorageUnavailable
from gifster.uploads.errors import Truncated
from gifster.uploads.files.cache_ids import cache_id, retrieve
from gifster.uploads.files.sources import cache_form_part
from gifster.uploads.remote.downloader import fetch

logger = logging.getLogger("gifster.api")

#: In characters. Every server takes so many (RFC 9110, 4.1).
MAX_URL = 8_000
READ_BYTES = 16 * 1024

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
    #: How long the fields are together, with their names (bytes).
    fields_bytes: int = 0

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

    def take(self, work: Callable[[], CachedFile]) -> None:
        """Take the file that the work returns (in a thread). If the request is cancelled meanwhile,
        the form has it all the same, and so it is removed."""
        self.cached = work()

    async def discard(self, context: Context) -> None:
        """Remove the file, unless a GIF has it. What cannot be removed now is left to the sweep:
        the client hears why there is no GIF."""
        if self.cached is not None:
            try:
                await context.write(self.cached.discard)
            except (OSError, StorageUnavailable) as error:
                key, why = self.cached.key, str(error)
                logger.warning("left in the cache key=%s reason=%r", key, why)

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
            work = partial(retrieve, ImageUploader, form.first("image_cache"), form.owner)
            await context.check(req, form.take, work)
        if how.fetching and form.urls:
            if form.cached is not None or len(form.urls) > 1:
                raise _too_many()
            await fetch_into(context, req, form, form.urls[0])
        yield form
    finally:
        try:
            await form.discard(context)
        finally:
            if context.memory.given_back():
                await context.write(trim)


def owner_of(context: Context, req: Request, user: User | None) -> str:
    """Whom the cache ids of a request are for: the user, or the address of somebody without an
    account."""
    return f"address:{context.limits.address(req)}" if user is None else f"user:{user.id}"


def _too_many() -> Problem:
    return Problem(422, "too_many_images", "Send one image at a time.")


async def fetch_into(context: Context, req: Request, form: UploadForm, url: str) -> None:
    """Give a form the file at a URL.

    Raises:
      Problem, UploadError, TooBusy: it cannot be fetched.
    """
    if len(url) > MAX_URL:
        raise Problem(422, "remote_url_invalid", f"A URL has at most {MAX_URL:,} characters.")
    await context.fetch(req, form.take, partial(fetch, ImageUploader, url))


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
        data = await part.get_data()
        # They stay in memory until the file has come, which may take hours.
        form.fields_bytes += len(name.encode()) + len(data)
        if form.fields_bytes > SMALL_BYTES:
            detail = f"The fields beside the file are larger than {SMALL_BYTES:,} bytes together."
            raise Problem(413, "too_large", detail)
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            raise Problem(400, "not_utf8", f"The field {name!r} is not UTF-8.") from None
        require_text(name, text)
        form.fields.setdefault(name, []).append(text)
