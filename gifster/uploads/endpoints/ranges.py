"""Requests for files that a client has already, or wants a part of (RFC 9110, 13 and 14).

Headers that cannot be read are ignored, as the RFC says.
"""

import os
import re
from typing import BinaryIO

from gifster.uploads.endpoints.messages import Headers, Problem, Request, Response

#: One range of bytes (RFC 9110, 14.1.2). A request for several gets the whole file.
_RANGE = re.compile(r"bytes=\s*([0-9]{0,18})-([0-9]{0,18})\s*", re.ASCII | re.IGNORECASE)


def only_reading(request: Request) -> None:
    """Raise `Problem` (405) unless the request reads a file."""
    if request.method not in ("GET", "HEAD"):
        detail = "This address does not take that method."
        raise Problem(405, "method_not_allowed", detail, {"Allow": "GET, HEAD"})


def is_known(request: Request, etag: str) -> bool:
    """Whether the client has the file with this entity tag already."""
    tags = request.headers.get("if-none-match", "").replace("W/", "")
    return tags.strip() == "*" or etag in {tag.strip() for tag in tags.split(",")}


def ranged(request: Request, file: BinaryIO, headers: Headers) -> Response:
    """The answer with the file, or with the range of it that the request asks for."""
    size = os.fstat(file.fileno()).st_size
    first, last = 0, size - 1
    found = _RANGE.fullmatch(request.headers.get("range", "").strip())
    unchanged = request.headers.get("if-range", headers["ETag"]).strip() == headers["ETag"]
    if found is None or not (found[1] or found[2]) or not unchanged or request.method != "GET":
        found = None
    elif not found[1]:
        first = max(0, size - int(found[2]))
    else:
        first, last = int(found[1]), min(last, int(found[2] or size))
    if found is not None and found[1] and found[2] and int(found[2]) < int(found[1]):
        found, first, last = None, 0, size - 1  # An invalid range is ignored.
    if found is not None and first >= size:
        file.close()
        detail = "The file has no such range."
        unsatisfied = {"Content-Range": f"bytes */{size}"}
        raise Problem(416, "range_not_satisfiable", detail, unsatisfied)
    file.seek(first)
    headers["Content-Length"] = str(last - first + 1)
    if found is not None:
        headers["Content-Range"] = f"bytes {first}-{last}/{size}"
    return Response(200 if found is None else 206, headers, file=file, length=last - first + 1)
