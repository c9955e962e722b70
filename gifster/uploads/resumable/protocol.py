"""The headers of tus 1.0 (https://tus.io/protocols/resumable-upload), without a web server.

Of its extensions there are creation, creation-with-upload, termination, checksum and expiration.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate

from gifster.uploads.resumable.table import ResumableUpload
from gifster.uploads.text import is_text

VERSION = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,expiration,checksum,termination"
#: The media type of content.
CONTENT_TYPE = "application/offset+octet-stream"
#: What it is called if a checksum does not match.
CHECKSUM_MISMATCH = 460
#: The algorithms of checksums, with the length of each (bytes).
ALGORITHMS = {"sha1": 20, "sha256": 32}
_PAIR = re.compile(r"([!-+\--~]+)(?: ([A-Za-z0-9+/]*={0,2}))?")

Headers = dict[str, str]


class ProtocolError(Exception):
    """A request that does not keep to the protocol.

    Parameters:
      status: the HTTP status.
      code: stable, for programs.
      detail: a sentence for people.
      headers: more headers of the answer.
    """

    def __init__(self, status: int, code: str, detail: str, headers: Headers | None = None) -> None:
        super().__init__(detail)
        self.status, self.code, self.headers = status, code, headers or {}


@dataclass(frozen=True)
class Checksum:
    """The checksum that a client gives for the body of one request."""

    algorithm: str
    digest: bytes

    def check(self, content: "hashlib._Hash") -> None:
        """Raises `ProtocolError` (460) if the content has another."""
        if content.digest() != self.digest:
            detail = "The body has another checksum: it was damaged on its way. Send it again."
            raise ProtocolError(CHECKSUM_MISMATCH, "checksum_mismatch", detail)

    def new(self) -> "hashlib._Hash":
        """The hash of no content yet."""
        return hashlib.new(self.algorithm, usedforsecurity=False)


def check_version(headers: Mapping[str, str]) -> None:
    """Raises `ProtocolError` (412) unless the request speaks our version.

    Parameters:
      headers: of the request, by their names in lower case; so also below.
    """
    spoken = headers.get("tus-resumable", "")
    if spoken != VERSION:
        detail = f"The header Tus-Resumable is {spoken[:20]!r}: this server speaks {VERSION}."
        raise ProtocolError(412, "tus_version", detail, {"Tus-Version": VERSION})


def method_of(method: str, headers: Mapping[str, str]) -> str:
    """The method that is meant: clients that can send no PATCH send a POST, and say so. Another
    method stays what it is, because the checks of browsers go by it."""
    meant = headers.get("x-http-method-override", "") if method == "POST" else ""
    return meant.upper() or method


def length_of(headers: Mapping[str, str]) -> int:
    """The size of a new upload (bytes).

    Raises:
      ProtocolError: 400, it is not given.
    """
    return _number(headers, "Upload-Length", "upload_length_invalid", "size of the file")


def offset_of(headers: Mapping[str, str]) -> int:
    """The offset at which a request's body begins (bytes).

    Raises:
      ProtocolError: 400, it is not given.
    """
    return _number(headers, "Upload-Offset", "upload_offset_invalid", "offset of the body")


def _number(headers: Mapping[str, str], name: str, code: str, what: str) -> int:
    text = headers.get(name.lower(), "")
    if text.isascii() and text.isdigit() and len(text) <= 18:
        return int(text)
    raise ProtocolError(400, code, f"{name} is {text[:20]!r}: give the {what} in bytes.")


def check_content_type(headers: Mapping[str, str]) -> None:
    """Raises `ProtocolError` (415) unless the body is content."""
    given = headers.get("content-type", "").partition(";")[0].strip().lower()
    if given != CONTENT_TYPE:
        detail = f"The body is {given[:100]!a}. Send {CONTENT_TYPE}."
        raise ProtocolError(415, "content_type_unsupported", detail)


def has_content(headers: Mapping[str, str]) -> bool:
    """Whether a creation brings content (creation-with-upload)."""
    return headers.get("content-type", "").partition(";")[0].strip().lower() == CONTENT_TYPE


def metadata_of(text: str) -> dict[str, str]:
    """The values of `Upload-Metadata`, by name.

    Raises:
      ProtocolError: 400, it is malformed, or a value is no text.
    """
    found: dict[str, str] = {}
    for pair in filter(None, (pair.strip(" ") for pair in text.split(","))):
        match = _PAIR.fullmatch(pair)
        if match is None or match[1] in found:
            raise _metadata_invalid(pair)
        try:
            value = base64.b64decode(match[2] or "", validate=True).decode("utf-8")
        except (binascii.Error, UnicodeDecodeError):
            raise _metadata_invalid(pair) from None
        if not is_text(value):
            raise _metadata_invalid(pair)
        found[match[1]] = value
    return found


def filename_of(metadata: str) -> str:
    """The client's name for its file: `filename` with tus-js-client and tusd, `name` with Uppy."""
    found = metadata_of(metadata)
    return found.get("filename") or found.get("name") or "upload"


def _metadata_invalid(pair: str) -> ProtocolError:
    detail = (
        f"Upload-Metadata has {pair[:40]!a}: give each name once, with a value in UTF-8 and "
        "base64, and commas between them."
    )
    return ProtocolError(400, "upload_metadata_invalid", detail)


def checksum_of(headers: Mapping[str, str]) -> Checksum | None:
    """The checksum of the body; None if the client gives none.

    Raises:
      ProtocolError: 400, for an algorithm that we do not know, or a malformed checksum.
    """
    text = headers.get("upload-checksum")
    if text is None:
        return None
    algorithm, _, encoded = text.partition(" ")
    try:
        digest = base64.b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError):
        digest = b""
    if algorithm not in ALGORITHMS or len(digest) != ALGORITHMS[algorithm]:
        known = " or ".join(ALGORITHMS)
        detail = f"Upload-Checksum is {text[:40]!a}: give {known}, a space, and base64."
        raise ProtocolError(400, "upload_checksum_invalid", detail)
    return Checksum(algorithm, digest)


def of_server(max_bytes: int | None) -> Headers:
    """The headers of an answer to OPTIONS.

    Parameters:
      max_bytes: the greatest size of an upload; None if there is no limit.
    """
    headers = {
        "Tus-Resumable": VERSION,
        "Tus-Version": VERSION,
        "Tus-Extension": EXTENSIONS,
        "Tus-Checksum-Algorithm": ",".join(ALGORITHMS),
    }
    return headers if max_bytes is None else headers | {"Tus-Max-Size": str(max_bytes)}


def of_progress(upload: ResumableUpload) -> Headers:
    """The headers of an answer that says how far an upload is."""
    return {
        "Tus-Resumable": VERSION,
        "Upload-Offset": str(upload.received),
        "Upload-Expires": formatdate(upload.expires_at, usegmt=True),
        "Cache-Control": "no-store",
    }


def of_upload(upload: ResumableUpload) -> Headers:
    """The headers of an answer to HEAD."""
    headers = of_progress(upload) | {"Upload-Length": str(upload.length)}
    return headers | ({"Upload-Metadata": upload.metadata} if upload.metadata else {})
