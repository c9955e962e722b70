"""The headers of a request for a remote file, and the file's name in those of the answer."""

import re
from collections.abc import Mapping
from email.message import Message
from email.utils import collapse_rfc2231_value

from gifster.uploads.content_types import extension
from gifster.uploads.remote.url import RemoteUrl

_OURS = {"User-Agent": "gifster-uploads", "Accept": "*/*", "Accept-Encoding": "identity"}
#: Headers that the URL and the connection decide.
_FIXED = {
    "host", "connection", "content-length", "expect", "keep-alive", "te", "trailer",
    "transfer-encoding", "upgrade",
}  # fmt: skip
#: RFC 9110, 5.6.2 and 5.5.
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


def request_headers(own: Mapping[str, str]) -> dict[str, str]:
    """The headers of a request: ours, and those of the caller, which win.

    Raises:
      ValueError: one of them cannot be sent. The message does not show its value.
    """
    names = {name.lower(): name for name in _OURS}
    headers = dict(_OURS)
    for name, value in own.items():
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise ValueError(
                f"the request header {name[:40]!r} cannot be sent: its name must be a token, and "
                "its value one line of Latin-1"
            )
        if name.lower() in _FIXED:
            raise ValueError(f"the request header {name!r} follows from the URL: leave it out")
        headers.pop(names.get(name.lower(), ""), None)
        names[name.lower()] = name
        headers[name] = value
    return headers


def filename(headers: Mapping[str, str], place: RemoteUrl) -> str:
    """The name of a file: that of the Content-Disposition header (RFC 6266), else that of the URL.
    If it has no extension, the content type gives it one, as in CarrierWave.

    Parameters:
      place: the URL, after all redirects.
    """
    name = _disposition_filename(headers.get("Content-Disposition") or "") or place.filename
    content_type = (headers.get("Content-Type") or "").partition(";")[0].strip().lower()
    ending = extension(content_type) if content_type else "bin"
    return f"{name or 'upload'}.{ending}" if "." not in name and ending != "bin" else name


def _disposition_filename(field: str) -> str:
    """The `filename*` of a Content-Disposition header (RFC 8187), else its `filename`.

    Servers write the latter in UTF-8, too, and browsers read it so; `http.client` makes a character
    of each octet.
    """
    message = Message()
    try:
        message["Content-Disposition"] = field.encode("latin-1").decode("utf-8")
    except UnicodeError:
        message["Content-Disposition"] = field
    found = ""
    for name, value in message.get_params([], "Content-Disposition"):
        if name.lower() != "filename":
            continue
        if isinstance(value, tuple):
            return collapse_rfc2231_value(value)
        found = found or value
    return found
