"""Takes an upload from a script in a browser, such as Uppy, or from a program, into the cache, and
answers with its cache id (Shrine's `upload_endpoint`).

The body is the file itself, or a multipart form with the file in the field `file`. It is written
piece by piece, and every limit of the uploader counts while it comes in.
"""

import threading
from collections.abc import Callable, Collection
from typing import Any

from gifster.jobs.mounted import SOON
from gifster.uploads.endpoints.bodies import Body
from gifster.uploads.endpoints.handler import Allow
from gifster.uploads.endpoints.messages import (
    Headers,
    Problem,
    Request,
    Response,
    as_json,
)
from gifster.uploads.endpoints.mounting import Endpoint
from gifster.uploads.endpoints.multipart import FileInForm, malformed, no_file
from gifster.uploads.endpoints.origins import Origins
from gifster.uploads.files.cache import CachedFile, CacheWriter
from gifster.uploads.files.cache_ids import cache_id
from gifster.uploads.files.filenames import form_filename
from gifster.uploads.files.validation import Limits

#: What a form may have beside its file (bytes).
FORM_BYTES = 128 * 1024


def upload(
    uploader: type[Limits],
    *,
    allow: Callable[[Any], object],
    origins: Collection[str] = (),
    at_once: int = 200,
) -> "UploadEndpoint":
    """An endpoint that takes uploads into the cache of an uploader.

        endpoint = endpoints.upload(AvatarUploader, allow=lambda scope: scope["session"].get("id"))

    `POST` a file as the body, with `?filename=cat.gif`, or a form with the file in the field
    `file`. The answer is JSON: `cache_id`, `filename`, `content_type`, `bytes`, `width`, `height`,
    `frames`, `duration_ms` and `metadata`. Give the cache id to `record.avatar_cache`. It is valid
    for an hour.

    Parameters:
      uploader: whose rules and cache they are.
      allow: who may upload. It gets the environ (WSGI) or the scope (ASGI) of each request, before
        the body is read. It returns the owner of the cache id, a text such as the user's id, which
        `cache_owner()` of the record's uploader must return, too; True for a cache id that everyone
        may use; None, False or an empty text for somebody who may not upload. It may raise a
        `Problem`. It runs in a thread, or on the event loop if it is a coroutine function.
      origins: the origins of other sites whose pages may upload, such as `https://app.example.org`.
      at_once: how many uploads this process receives at the same time; further ones get a 503. Each
        has a file open, and a slow one may take hours.

    Raises:
      TypeError: `allow` is no function.
      ValueError: one of the origins is none, or `at_once` is less than 1.
    """
    if at_once < 1:
        raise ValueError(f"at_once={at_once}: it must be at least 1")
    return UploadEndpoint(uploader, allow, origins, Places(at_once))


class Guarded(Endpoint):
    """An endpoint for people whom `allow` admits, from pages of this site or of `origins`.

    Parameters:
      uploader, allow, origins: as for `upload()`.
    """

    methods = "POST"

    def __init__(
        self,
        uploader: type[Limits],
        allow: Callable[[Any], object],
        origins: Collection[str] = (),
    ) -> None:
        if not callable(allow):
            raise TypeError(
                f"allow={allow!r}: give a function of the request, which returns the user's id"
            )
        super().__init__(allow)
        self.uploader, self._origins = uploader, Origins(origins)

    def begin(self, request: Request, allow: Allow) -> Response | Body:
        if request.path not in ("", "/"):
            raise Problem(404, "not_found", "There is nothing at this address.")
        if request.method == "OPTIONS":
            return self._origins.preflight(request, self.methods)
        if request.method != self.methods:
            raise Problem(
                405,
                "method_not_allowed",
                "This address does not take that method.",
                {"Allow": f"{self.methods}, OPTIONS"},
            )
        self._origins.check(request)
        return self.admitted(request, owner_of(allow()))

    def admitted(self, request: Request, owner: str) -> Response | Body:
        """The answer to a request of somebody who may upload."""
        raise NotImplementedError

    def extra_headers(self, request: Request, answer: Headers) -> Headers:
        return self._origins.headers(request, answer)


def owner_of(said: object) -> str:
    """The owner of a cache id, by what `allow` returned; empty for an id without one.

    Raises:
      Problem: 403, the request is refused.
      TypeError: it is no text, no bool and not None. A coroutine may be true by accident.
    """
    if said is True:
        return ""
    if isinstance(said, str) and said:
        return said
    if said is None or said is False or said == "":
        raise Problem(403, "not_allowed", "You may not upload files here.")
    raise TypeError(
        f"allow returned an object of type {type(said).__name__}: return the owner as a text, "
        "True or None"
    )


class Places:
    """The places of uploads that are received at the same time."""

    def __init__(self, number: int) -> None:
        self._free = threading.Semaphore(number)

    def take(self) -> None:
        """Take a place. Raises `Problem` (503) if there is none."""
        if not self._free.acquire(blocking=False):
            detail = "Too many files are being uploaded now. Try again in a few seconds."
            raise Problem(503, "too_busy", detail, SOON)

    def leave(self) -> None:
        """Give the place back."""
        self._free.release()


class UploadEndpoint(Guarded):
    """What `upload()` returns."""

    def __init__(
        self,
        uploader: type[Limits],
        allow: Callable[[Any], object],
        origins: Collection[str],
        places: Places,
    ) -> None:
        super().__init__(uploader, allow, origins)
        self._places = places

    def admitted(self, request: Request, owner: str) -> Body:
        length = request.content_length
        is_form = request.headers.get("content-type", "").lower().startswith("multipart/form-data")
        if length is not None:
            self.uploader.check_bytes(length - FORM_BYTES if is_form else length)
        return Receiver(self.uploader, request, owner, self._places, is_form=is_form)


class Receiver:
    """The file of one request, on its way into the cache."""

    def __init__(
        self, rules: type[Limits], request: Request, owner: str, places: Places, *, is_form: bool
    ) -> None:
        self._rules, self._owner = rules, owner
        self._writer: CacheWriter | None = None
        self._form: FileInForm | None = None
        if is_form:
            content_type = request.headers["content-type"]
            self._form = FileInForm(content_type, self._begin, self._write)
        else:
            self._begin(request.parameters().get("filename", ""))
        places.take()
        self._places: Places | None = places

    def _begin(self, filename: str) -> None:
        self._writer = CacheWriter(self._rules, form_filename(_Part(filename)))

    def _write(self, piece: bytes) -> None:
        if self._writer is not None:
            self._writer.write(piece)

    def feed(self, piece: bytes) -> None:
        """Take a piece of the body."""
        (self._write if self._form is None else self._form.feed)(piece)

    def finish(self) -> Response:
        """Check the file as a whole, and answer with its cache id."""
        if self._form is not None and not self._form.complete:
            raise malformed()
        if self._writer is None:
            raise no_file(self._form.elsewhere if self._form is not None else "")
        cached = self._writer.finish()
        answer = as_json(201, described(cached) | {"cache_id": cache_id(cached, self._owner)})
        self._leave()
        return answer

    def abort(self, error: BaseException) -> None:
        """Leave nothing in the cache."""
        self._leave()
        if self._writer is not None:
            self._writer.abort(error)

    def _leave(self) -> None:
        if self._places is not None:
            self._places.leave()
            self._places = None


class _Part:
    def __init__(self, filename: str) -> None:
        self.filename = filename


def described(cached: CachedFile) -> dict[str, Any]:
    """What a client may know of its upload."""
    return {
        "filename": cached.filename,
        "content_type": cached.info.content_type,
        "bytes": cached.bytes,
        "width": cached.info.width,
        "height": cached.info.height,
        "frames": cached.info.frames,
        "duration_ms": cached.info.duration_ms,
        "metadata": cached.metadata,
    }
