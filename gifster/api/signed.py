"""Addresses of files that let in whoever has them, for some time: what the drop-in API of a library
for members hands out, since its clients show files without logging in.

They are what a bucket's signed URLs are. A signature is over the path alone, and lets nobody see a
GIF that strangers would not see in a public library.
"""

import re

import itsdangerous
from falcon.asgi import Request

from gifster import jobs
from gifster.uploads.config import config

_NUMBER = re.compile("[0-9]{1,15}", re.ASCII)


class Signatures:
    """Signs paths.

    Parameters:
      expires_s: for how long a signature holds at least; at most it is twice as long (seconds).
        So an address stays the same for a while, and browsers find it in their cache.
    """

    def __init__(self, expires_s: int) -> None:
        keys = config.secrets or [config.secret]
        self._signer = itsdangerous.Signer(keys, salt="gifster.api.signed", key_derivation="hmac")
        self._step = expires_s

    def sign(self, path: str) -> str:
        """The path with its signature in the query.

        Parameters:
          path: as `req.path` has it, without a query.
        """
        until = (int(jobs.now()) // self._step + 2) * self._step
        return f"{path}?until={until}&by={self._signer.get_signature(_text(path, until)).decode()}"

    def hold(self, req: Request) -> bool:
        """Whether a request has a signature of its path that has not ended."""
        until, by = req.get_param("until") or "", req.get_param("by") or ""
        if not by or not _NUMBER.fullmatch(until) or int(until) <= jobs.now():
            return False
        return bool(self._signer.verify_signature(_text(req.path, int(until)), by.encode()))


def _text(path: str, until: int) -> bytes:
    return f"{until} {path}".encode()
