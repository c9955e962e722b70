"""Serves the files of a storage (Shrine's `download_endpoint`): of a folder on this machine, or of
any storage whose files not everybody may see.
"""

import errno
import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from gifster.imaging.image_info import IMAGE_EXTENSIONS, UNKNOWN_TYPE
from gifster.uploads.config import storage
from gifster.uploads.endpoints.handler import Allow
from gifster.uploads.endpoints.messages import Problem, Request, Response
from gifster.uploads.endpoints.mounting import Endpoint
from gifster.uploads.endpoints.ranges import is_known, only_reading, ranged
from gifster.uploads.files.access import local_copy
from gifster.uploads.mirror import MirrorStorage
from gifster.uploads.storage.base import StorageUnavailable, is_key
from gifster.uploads.storage.local import LocalStorage

FOREVER_S = 365 * 24 * 3600
#: What the system says of a path that leads to no file, and of a name that no file can have.
NO_SUCH_FILE = {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG}
#: What browsers show, by extension. They download everything else: HTML and SVG can have scripts.
SHOWN = {name: kind for kind, name in IMAGE_EXTENSIONS.items()}
SHOWN |= {"mp4": "video/mp4", "webm": "video/webm"}


def files(
    storage: str = "store",
    *,
    allow: Callable[[Any], object] | None = None,
    signed: bool = False,
) -> "FilesEndpoint":
    """An endpoint that serves the files of a storage. Mount it at the storage's `base_url`.

        app.mount("/files", endpoints.files().asgi)

    Pictures, MP4 and WebM films are shown, and all other files are downloaded. Without `allow` and
    `signed`, everybody sees every file whose URL they know.

    Parameters:
      storage: its name. A folder is served without copying; files of any other storage are copied
        here for each request, so give S3 a `base_url` or signed URLs instead, unless `allow` has to
        decide.
      allow: who may see a file. It gets the environ (WSGI) or the scope (ASGI), and returns True or
        False. Its path has the key of the file.
      signed: serve only URLs that expire, as `url(expires_s=…)` of a `LocalStorage` with a secret
        makes them.

    Raises:
      TypeError: `allow` is no function.
    """
    if allow is not None and not callable(allow):
        raise TypeError(f"allow={allow!r}: give a function of the request")
    return FilesEndpoint(storage, allow, signed=signed)


class FilesEndpoint(Endpoint):
    """What `files()` returns."""

    def __init__(
        self, storage: str, allow: Callable[[Any], object] | None, *, signed: bool
    ) -> None:
        super().__init__(allow or (lambda _: True))
        self._storage, self._signed = storage, signed
        self._is_public = allow is None and not signed

    def begin(self, request: Request, allow: Allow) -> Response:
        only_reading(request)
        key = request.path.removeprefix("/")
        if not is_key(key):
            raise missing()
        self._check(request, key, allow)
        keep = f"public, max-age={FOREVER_S}, immutable" if self._is_public else "private, no-cache"
        ending = key.rpartition(".")[2]
        headers = {
            "ETag": f'"{hashlib.sha256(key.encode()).hexdigest()[:32]}"',
            "Cache-Control": keep,
            "Accept-Ranges": "bytes",
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "default-src 'none'; sandbox",
            "Content-Disposition": "inline" if ending in SHOWN else "attachment",
        }
        if is_known(request, headers["ETag"]) and self._is_there(key):
            return Response(304, headers)
        try:
            with local_copy(self._storage, key) as path:
                file = self._opened(key, path)
        except OSError as error:
            if _tells_of_no_file(error):
                raise missing() from None
            raise
        headers["Content-Type"] = SHOWN.get(ending, UNKNOWN_TYPE)
        return ranged(request, file, headers)

    def _is_there(self, key: str) -> bool:
        """Whether there is such a file. While its storage is away, clients may show what they
        have."""
        try:
            return storage(self._storage).exists(key)
        except StorageUnavailable:
            return True
        except OSError as error:
            return not _tells_of_no_file(error)

    def _opened(self, key: str, path: Path) -> BinaryIO:
        """The file, open. A link may not lead out of the folder, and a FIFO would wait for ever."""
        for kept in _folders(storage(self._storage)):
            if path.is_relative_to(kept.root.resolve()):
                break  # the second folder of a mirror is not asked: its disk may hang
            if kept.path(key).resolve() == path:
                raise missing()
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        if not stat.S_ISREG(os.fstat(number).st_mode):
            os.close(number)
            raise missing()
        return open(number, "rb")

    def _check(self, request: Request, key: str, allow: Allow) -> None:
        if self._signed:
            allows = getattr(storage(self._storage), "allows", None)
            if allows is None:
                raise TypeError(f"the storage {self._storage!r} signs no URLs of this endpoint")
            found = request.parameters()
            expires, signature = (found.get(name, "") for name in ("expires", "signature"))
            if not allows(key, expires, signature):
                raise Problem(403, "not_allowed", "This address has expired: load the page again.")
        if allow() is not True:
            raise Problem(403, "not_allowed", "You may not see this file.")


def _tells_of_no_file(error: OSError) -> bool:
    # Only the system gives its errors a number; other storages raise a plain FileNotFoundError.
    return isinstance(error, FileNotFoundError) or error.errno in NO_SUCH_FILE


def _folders(kept: object) -> list[LocalStorage]:
    """The folders on this machine that a storage consists of."""
    if isinstance(kept, MirrorStorage):
        return [*_folders(kept.first), *_folders(kept.second)]
    return [kept] if isinstance(kept, LocalStorage) else []


def missing() -> Problem:
    """The error of a file that does not exist."""
    return Problem(404, "not_found", "There is no such file.")
