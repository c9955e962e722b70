"""Requests of tus 1.0, as a client sends them."""

import base64
import hashlib
from collections.abc import Callable
from typing import Any

import httpx

CONTENT = "application/offset+octet-stream"
VERSION = {"Tus-Resumable": "1.0.0"}


def metadata(**values: str) -> str:
    """`Upload-Metadata` with these values."""
    return ",".join(f"{k} {base64.b64encode(v.encode()).decode()}" for k, v in values.items())


def checksum(content: bytes, algorithm: str = "sha1") -> str:
    digest = hashlib.new(algorithm, content, usedforsecurity=False).digest()
    return f"{algorithm} {base64.b64encode(digest).decode()}"


class Tus:
    """One client.

    Parameters:
      call: sends a request: its method, its path below the address at which uploads begin, and
        options as for httpx.
      root: that address itself, below it.
    """

    def __init__(self, call: Callable[..., httpx.Response], root: str = "/") -> None:
        self.call, self._root = call, root

    def create(self, length: object, content: bytes | None = None, **more: str) -> httpx.Response:
        """Create an upload; `more` are headers, with `_` for `-`."""
        headers = {**VERSION, "Upload-Length": str(length)}
        headers |= {"Upload-Metadata": metadata(filename="cat.gif")}
        headers |= {"Content-Type": CONTENT} if content is not None else {}
        return self._call("POST", self._root, headers, content, more)

    def begun(self, length: object, content: bytes | None = None, **more: str) -> str:
        """The path of a new upload, below the mount."""
        answer = self.create(length, content, **more)
        assert answer.status_code == 201, answer.text
        return "/" + answer.headers["Location"].rpartition("/")[2]

    def patch(self, path: str, offset: object, content: Any, **more: str) -> httpx.Response:
        headers = {**VERSION, "Upload-Offset": str(offset), "Content-Type": CONTENT}
        return self._call("PATCH", path, headers, content, more)

    def head(self, path: str, **more: str) -> httpx.Response:
        return self._call("HEAD", path, VERSION, None, more)

    def offset(self, path: str) -> int:
        answer = self.head(path)
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-store"
        return int(answer.headers["Upload-Offset"])

    def delete(self, path: str) -> httpx.Response:
        return self._call("DELETE", path, VERSION, None, {})

    def told(self, path: str) -> dict[str, Any]:
        answer: dict[str, Any] = self.call("GET", path).json()
        return answer

    def _call(
        self, method: str, path: str, headers: dict[str, str], content: Any, more: dict[str, str]
    ) -> httpx.Response:
        given = {name.replace("_", "-"): value for name, value in more.items()}
        encoded = {name: value.encode() for name, value in {**headers, **given}.items()}
        body = {} if content is None else {"content": content}
        return self.call(method, path, headers=encoded, **body)
