"""Takes uploads that go on after a lost connection: tus 1.0, as tusd has it (Shrine leaves it to
`tus-server`). What the protocol asks is in `resumable/`.
"""

import re
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from gifster import jobs
from gifster.jobs import transaction
from gifster.uploads.endpoints.bodies import Body
from gifster.uploads.endpoints.handler import Allow
from gifster.uploads.endpoints.messages import Headers, Problem, Request, Response, as_json
from gifster.uploads.endpoints.receiving import Guarded, Places, described, owner_of
from gifster.uploads.errors import UploadError
from gifster.uploads.files.cache import CachedFile
from gifster.uploads.files.cache_ids import cache_id
from gifster.uploads.files.validation import Limits
from gifster.uploads.resumable import protocol, rows, table
from gifster.uploads.resumable.receiving import Receiver
from gifster.uploads.resumable.table import ResumableUpload, Stage

_UPLOAD = re.compile(r"/([0-9a-f]{32})/?")
#: The methods of the two kinds of addresses. A POST to an upload says which other method it means.
OF_CREATION, OF_UPLOADS = ("POST", "OPTIONS"), ("GET", "HEAD", "PATCH", "DELETE", "OPTIONS")


def tus(
    uploader: type[Limits],
    *,
    allow: Callable[[Any], object],
    origins: Collection[str] = (),
    at_once: int = 200,
    lives_s: int = table.LIVES_S,
) -> "TusEndpoint":
    """An endpoint that takes resumable uploads into the cache of an uploader, by tus 1.0.

        db.bind(uploads.TABLES)
        app.mount("/uploads/films", endpoints.tus(FilmUploader, allow=user_of_request).asgi)

    Clients are tus-js-client, Uppy's plugin Tus, tuspy and any other. A `GET` of a complete
    upload's URL returns JSON, as `upload()` does, with the `cache_id`.

    Parameters:
      uploader, allow, origins, at_once: as for `upload()`. Each request of an upload is asked.
      lives_s: how long an upload is kept after the last progress (seconds).

    Raises:
      TypeError: `allow` is no function.
      ValueError: one of the origins is none, or `at_once` or `lives_s` is less than 1.
    """
    if min(at_once, lives_s) < 1:
        raise ValueError(f"at_once={at_once}, lives_s={lives_s}: both must be at least 1")
    return TusEndpoint(uploader, allow, origins, Places(at_once), lives_s)


class TusEndpoint(Guarded):
    """What `tus()` returns."""

    def __init__(
        self,
        uploader: type[Limits],
        allow: Callable[[Any], object],
        origins: Collection[str],
        places: Places,
        lives_s: int,
    ) -> None:
        super().__init__(uploader, allow, origins)
        self.places, self._lives_s = places, lives_s

    def begin(self, request: Request, allow: Allow) -> Response | Body:
        try:
            return self._begin(request, allow)
        except PROTOCOL as error:
            raise problem(error) from None

    def _begin(self, request: Request, allow: Allow) -> Response | Body:
        method = protocol.method_of(request.method, request.headers)
        match = _UPLOAD.fullmatch(request.path)
        if match is None and request.path not in ("", "/"):
            raise Problem(404, "not_found", "There is nothing at this address.")
        methods = OF_CREATION if match is None else OF_UPLOADS
        if method == "OPTIONS":
            answer = self._origins.preflight(request, ", ".join(methods))
            answer.headers |= protocol.of_server(self.uploader.max_bytes)
            return answer
        if method not in methods:
            detail = "This address does not take that method."
            raise Problem(405, "method_not_allowed", detail, {"Allow": ", ".join(methods)})
        self._origins.check(request)
        owner = owner_of(allow())
        if method != "GET":
            protocol.check_version(request.headers)
        if match is None:
            return self._created(request, owner)
        with table.connected():
            upload = rows.find(self.uploader, match[1], owner)
        return self._answer(method, request, upload)

    def _created(self, request: Request, owner: str) -> Response | Body:
        length = protocol.length_of(request.headers)
        metadata = request.headers.get("upload-metadata", "")
        told = protocol.metadata_of(metadata)
        content_type = told.get("filetype") or told.get("type") or ""
        self.uploader.check_declared(protocol.filename_of(metadata), length, content_type)
        protocol.checksum_of(request.headers)

        def create() -> tuple[ResumableUpload, Headers]:
            with table.connected():
                made = rows.create(
                    self.uploader, length, metadata=metadata, owner=owner, lives_s=self._lives_s
                )
            return made, {"Location": f"{request.mount}/{made.id}"}

        def receive() -> _Body:
            upload, location = create()
            return _Body(self, upload, request, (201, location))

        if protocol.has_content(request.headers):
            return self._with_place(receive)
        upload, location = create()
        answer = as_json(201, self.told(upload))
        answer.headers |= {**location, **protocol.of_progress(upload)}
        return answer

    def _with_place(self, receive: Callable[[], "_Body"]) -> "_Body":
        """A body that is received in one of the places. It is made once there is one: an upload
        that a refused request has begun would stay, and its client does not know its address."""
        self.places.take()
        try:
            return receive()
        except BaseException:
            self.places.leave()
            raise

    def _answer(self, method: str, request: Request, upload: ResumableUpload) -> Response | Body:
        if method == "GET":
            return as_json(200, self.told(upload))
        if method == "DELETE":
            with table.connected():
                rows.terminate(upload)
            return Response(204, {"Tus-Resumable": protocol.VERSION})
        check_not_failed(upload)
        if method == "HEAD":
            answer = as_json(200, self.told(upload))
            answer.headers |= protocol.of_upload(upload)
            return answer
        protocol.check_content_type(request.headers)
        if upload.stage == Stage.DONE and protocol.offset_of(request.headers) == upload.length:
            return Response(204, protocol.of_progress(upload))
        return self._with_place(lambda: _Body(self, upload, request, (204, {})))

    def told(self, upload: ResumableUpload) -> dict[str, Any]:
        """What a `GET` tells of an upload."""
        told: dict[str, Any] = {"offset": upload.received, "length": upload.length, "error": None}
        if upload.stage == Stage.FAILED:
            return told | {"error": upload.outcome}
        if upload.stage == Stage.DONE:
            cached = CachedFile.load(upload.outcome["file"])
            cached.received(self.uploader, upload.outcome["at"])
            told |= {**described(cached), "cache_id": cache_id(cached, upload.owner)}
        return told

    def extra_headers(self, request: Request, answer: Headers) -> Headers:
        version = {"Tus-Resumable": protocol.VERSION}
        return version | super().extra_headers(request, {**answer, **version})


class _Body:
    """The body of one request, on its way into an upload. It has one of the endpoint's places."""

    def __init__(
        self,
        endpoint: TusEndpoint,
        upload: ResumableUpload,
        request: Request,
        answer: tuple[int, Headers],
    ) -> None:
        offset = 0 if answer[0] == 201 else protocol.offset_of(request.headers)
        checksum = protocol.checksum_of(request.headers)
        self._endpoint, self._upload = endpoint, upload
        self._status, self._headers = answer
        self._receiver = Receiver(endpoint.uploader, upload, offset, checksum)
        self._places: Places | None = endpoint.places

    def feed(self, piece: bytes) -> None:
        """Take a piece of the body."""
        with self._refusing():
            if self._receiver.write(piece):
                with table.connected():
                    self._receiver.keep()

    def finish(self) -> Response:
        """Keep what has come; take the upload, if it is complete."""
        with self._refusing():
            with table.connected():
                self._receiver.end()
            if self._receiver.is_complete:
                self._take(self._receiver.assemble())
        self._leave()
        if self._status == 201:
            answer = as_json(201, self._endpoint.told(self._upload))
        else:
            answer = Response(self._status)
        answer.headers |= {**self._headers, **protocol.of_progress(self._upload)}
        return answer

    def _take(self, cached: CachedFile) -> None:
        outcome = {"file": cached.dump(), "at": jobs.now()}
        try:
            with table.connected():
                with transaction(table.database()):
                    rows.finish(self._upload, outcome)
                rows.finished(self._upload, outcome)
        except table.OffsetMoved:
            cached.delete()
            raise

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        """A `with` block after whose `UploadError` the upload has failed for good."""
        try:
            try:
                yield
            except UploadError as error:
                self._receiver.abort()
                with table.connected():
                    rows.fail(self._upload, error)
                raise
        except PROTOCOL as error:
            raise problem(error) from None

    def abort(self, error: BaseException) -> None:
        """Keep what has come, as far as it can be trusted. A creation that fails leaves no upload,
        as no client knows its address."""
        self._leave()
        if self._status == 201:
            self._receiver.abort()
            with table.connected():
                rows.terminate(self._upload)
            return
        # If the offset has moved, the client goes on in another request already.
        with table.connected(), suppress(table.OffsetMoved, table.PartsLost):
            self._receiver.break_off()

    def _leave(self) -> None:
        if self._places is not None:
            self._places.leave()
            self._places = None


#: The errors of the protocol and of the rows.
PROTOCOL = (protocol.ProtocolError, table.NoSuchUpload, table.OffsetMoved)


def problem(error: Exception) -> Problem:
    """The answer to an error of the protocol or of the rows."""
    if isinstance(error, protocol.ProtocolError):
        return Problem(error.status, error.code, str(error), error.headers)
    if isinstance(error, table.OffsetMoved):
        known = {} if error.received is None else {"Upload-Offset": str(error.received)}
        return Problem(409, "upload_offset_moved", str(error), known)
    return Problem(404, "upload_not_found", str(error))


def check_not_failed(upload: ResumableUpload) -> None:
    """Raises `Problem` (410) for an upload that was refused."""
    if upload.stage == Stage.FAILED:
        raise Problem(410, upload.outcome["code"], upload.outcome["message"])
