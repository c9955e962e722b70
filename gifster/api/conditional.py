"""Conditional and range requests: whether a client has a file already, and which part it asks for
(RFC 9110, 13 and 14).

Headers that cannot be read are ignored, as the RFC says; they are never an error.
"""

import re
from dataclasses import dataclass
from datetime import datetime

import falcon
from falcon.asgi import Request

#: One range of bytes. Lists may have empty elements (RFC 9110, 5.6.1); units have no case.
_RANGE = re.compile(r"bytes=[\s,]*([0-9]{0,30})-([0-9]{0,30})[\s,]*", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class Validators:
    """Entity tag and date, which tell one state of a file from another.

    Parameters:
      etag: a strong entity tag, with its quotes.
      modified: when the file was last written, in whole seconds; None if nobody knows.
    """

    etag: str
    modified: datetime | None

    def status_for(self, req: Request) -> int:
        """The status that the conditions of a `GET` or `HEAD` lead to: 200, 304 or 412 (RFC 9110,
        13.2.2)."""
        if (tags := req.get_header("If-Match")) is not None:
            if not self._is_among(tags):
                return 412
        elif self._is_later_than(req.get_header("If-Unmodified-Since")):
            return 412
        if (tags := req.get_header("If-None-Match")) is not None:
            return 304 if self._is_among(tags.replace("W/", "")) else 200
        date = _date(req.get_header("If-Modified-Since"))
        return 304 if date and self.modified and self.modified <= date else 200

    def range_for(self, req: Request, size: int) -> tuple[int, int] | None:
        """The part of the file that a request asks for.

        A request for several ranges gets the whole file: such requests are rare, and the answer to
        many ranges is larger than the file.

        Parameters:
          size: of the file (bytes).

        Returns:
          the first and the last byte; None for the whole file.

        Raises:
          HTTPRangeNotSatisfiable: the file has no byte in that part.
        """
        found = _RANGE.fullmatch(req.get_header("Range", default="").strip())
        if found is None or found[1] == found[2] == "" or not size or req.method != "GET":
            return None
        if not self._are_those_of(req.get_header("If-Range")):
            return None
        if found[1] == "":
            first, last = max(0, size - int(found[2])), size - 1
        else:
            first, last = int(found[1]), min(size - 1, int(found[2] or size))
            if found[2] and int(found[2]) < int(found[1]):
                return None
        if first >= size:
            raise falcon.HTTPRangeNotSatisfiable(size)
        return first, last

    def _is_among(self, tags: str) -> bool:
        """Our tags have no comma, so it does not matter if this tears tags of others apart."""
        return tags.strip() == "*" or self.etag in (tag.strip() for tag in tags.split(","))

    def _are_those_of(self, if_range: str | None) -> bool:
        """A strong comparison. A date is a strong validator where nothing is written twice within
        a second (RFC 9110, 8.8.2.2): a key names one content."""
        if if_range is None or if_range.strip() == self.etag:
            return True
        return self.modified is not None and _date(if_range) == self.modified

    def _is_later_than(self, text: str | None) -> bool:
        date = _date(text)
        return date is not None and self.modified is not None and self.modified > date


def _date(text: str | None) -> datetime | None:
    try:
        return falcon.http_date_to_dt(text, obs_date=True) if text else None
    except ValueError:
        return None
