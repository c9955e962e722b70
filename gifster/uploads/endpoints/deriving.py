"""Serves derivations: versions that are made when somebody first asks for their URL (Shrine's
`derivation_endpoint`).

The signature in the URL is the permission. A derivation is made in the sandbox, once, and kept
beside its original. Its URL changes with the uploader's recipe, so browsers may keep the answer for
ever.
"""

from typing import BinaryIO

from gifster import jobs
from gifster.uploads.config import storage
from gifster.uploads.endpoints.handler import Allow
from gifster.uploads.endpoints.messages import Headers, Problem, Request, Response
from gifster.uploads.endpoints.mounting import Endpoint
from gifster.uploads.endpoints.ranges import is_known, only_reading, ranged
from gifster.uploads.files.access import local_copy
from gifster.uploads.uploader import Uploader
from gifster.uploads.versions.derivations import NoSuchDerivation, Wanted, read
from gifster.uploads.versions.making import Maker

#: How long an answer may be kept whose URL an earlier recipe has, and one without expiry (seconds).
CHANGED_S, FOREVER_S = 300, 365 * 24 * 3600


def derivations(
    uploader: type[Uploader], *, at_once: int = 2, waiting: int = 56
) -> "DerivationEndpoint":
    """An endpoint that serves the derivations of an uploader. Mount it at `derivations_url`.

        app.mount("/derivations/photos", endpoints.derivations(PhotoUploader).asgi)

    Parameters:
      uploader: declares them.
      at_once: how many are made at the same time in this process, each with a core of its own.
      waiting: how many requests may wait for one in this process; further ones get a 503. Under
        WSGI each holds a thread of your server: choose fewer than it has.

    Raises:
      ValueError: `at_once` or `waiting` is less than 1.
    """
    if min(at_once, waiting) < 1:
        raise ValueError(f"at_once={at_once}, waiting={waiting}: both must be at least 1")
    return DerivationEndpoint(uploader, Maker(at_once, waiting), threads=waiting + 8)


class DerivationEndpoint(Endpoint):
    """What `derivations()` returns."""

    def __init__(self, uploader: type[Uploader], maker: Maker, threads: int) -> None:
        super().__init__(threads=threads)
        self._uploader, self._maker = uploader, maker

    def begin(self, request: Request, allow: Allow) -> Response:
        only_reading(request)
        try:
            wanted = read(self._uploader, request.path.removeprefix("/"))
        except NoSuchDerivation as error:
            raise Problem(404, "not_found", str(error)) from None
        if not storage(wanted.storage).exists(wanted.source):
            raise Problem(404, "not_found", "This picture has been deleted.")
        headers = headers_of(wanted)
        if is_known(request, headers["ETag"]):
            return Response(304, headers)
        try:
            file = self._opened(wanted)
        except FileNotFoundError:
            raise Problem(404, "not_found", "This picture has been deleted.") from None
        headers["Content-Type"] = wanted.content_type
        return ranged(request, file, headers)

    def _opened(self, wanted: Wanted) -> BinaryIO:
        """The derivation, which is made if nobody has asked for it before."""
        try:
            return opened(wanted)
        except FileNotFoundError:
            self._maker.make(wanted)
        return opened(wanted)


def opened(wanted: Wanted) -> BinaryIO:
    """The file of a derivation on this machine, open.

    Raises:
      FileNotFoundError: it has not been made yet.
    """
    with local_copy(wanted.storage, wanted.key) as path:
        return path.open("rb")  # The file stays as long as it is open.


def headers_of(wanted: Wanted) -> Headers:
    """The headers of an answer with a derivation, whatever part of it."""
    if wanted.expires_at is not None:
        keep = f"private, max-age={max(0, wanted.expires_at - int(jobs.now()))}"
    elif wanted.is_current:
        keep = f"public, max-age={FOREVER_S}, immutable"
    else:
        keep = f"public, max-age={CHANGED_S}"
    name = wanted.key.rpartition("/")[2]
    return {
        "ETag": f'"{name}"',
        "Cache-Control": keep,
        "Accept-Ranges": "bytes",
        "Content-Disposition": "inline",
        "X-Content-Type-Options": "nosniff",
    }
