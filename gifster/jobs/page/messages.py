"""A request and a response as `wsgi.py` and `asgi.py` have in common, and what may be wrong with a
request."""

import http
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qs

from gifster.jobs.mounted import Head

#: The longest form (bytes), and the most fields in one: one for each job of a list, and some.
MAX_FORM_BYTES, MAX_FIELDS = 64 * 1024, 200
FORM = "application/x-www-form-urlencoded"


class Refusal(Exception):
    """The request gets an error page.

    Parameters:
      status: the HTTP status.
      detail: a sentence for people.
      headers: more headers of the answer.
    """

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.headers = status, dict(headers or {})

    @property
    def title(self) -> str:
        """The reason phrase of the status."""
        return http.HTTPStatus(self.status).phrase


@dataclass(frozen=True)
class Request(Head):
    """A request to the mounted page.

    Parameters:
      body: of a POST. None if it is longer than `MAX_FORM_BYTES`.
    """

    body: bytes | None = b""

    def parameters(self) -> dict[str, str]:
        """The parameters of the query. If one is repeated, its last value counts.

        Raises:
          Refusal: 400, it cannot be read.
        """
        return {name: values[-1] for name, values in _fields(self.query, "query").items()}

    def form(self) -> dict[str, list[str]]:
        """The fields of the form.

        Raises:
          Refusal: 400, 413 or 415, it cannot be read.
        """
        if self.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
            raise Refusal(415, f"The body is no form: send {FORM}.")
        if self.body is None:
            raise Refusal(413, f"The form is longer than {MAX_FORM_BYTES:,} bytes.")
        return _fields(self.body.decode("latin1"), "form")


def _fields(encoded: str, name: str) -> dict[str, list[str]]:
    try:
        fields = parse_qs(encoded, errors="strict", max_num_fields=MAX_FIELDS)
        text = "".join([part for key, values in fields.items() for part in (key, *values)])
        text.encode()  # half of a surrogate pair
    except ValueError:
        raise Refusal(400, f"The {name} cannot be read: it is not UTF-8, or too long.") from None
    if "\0" in text:  # which PostgreSQL has no place for
        raise Refusal(400, f"The {name} has a NUL character.")
    return fields


@dataclass
class Response:
    """What the server sends. The headers that belong to every answer are in it, and the length."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def reason(self) -> str:
        """The reason phrase of the status."""
        return http.HTTPStatus(self.status).phrase
