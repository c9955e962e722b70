"""Odd texts in every place that a client can fill: NUL, lone surrogates, bytes that are not UTF-8,
numbers that no column can store, JSON of 10,000 levels.

The places come from `/openapi.json` and from the forms of the pages, so nobody has to add a new
parameter here. `Odd.requests()` yields each text in each place. No answer may be a 5xx or contain a
traceback.
"""

import itertools
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from typing import Any, TypeVar
from urllib.parse import quote, quote_from_bytes

import httpx

from chaos.odd_texts import BODIES, HEADERS, KINDS, TEXTS, VALUES, WORST, Text
from gifster.api.openapi import document

BOUNDARY = "----odd"

T = TypeVar("T")

#: Query parameters of pages that are in no form.
QUERIES = {
    "/": ["q", "tag", "cursor"],
    "/jobs": ["state", "cursor", "span", "done"],
    "/events": ["gif"],
}
FORM_PAGES = ["/", "/signup", "/login", "/jobs"]


@dataclass(frozen=True)
class Request:
    """A request with one odd text; `place` and `text` say which, and where."""

    place: str
    text: str
    method: str
    path: str
    headers: dict[str, bytes] = field(default_factory=dict)
    body: bytes = b""

    def send(self, client: httpx.Client) -> tuple[int, str]:
        """The status and the text of the answer. The status is 0 if the server closed the
        connection, or if our own client refuses to send this. Endless streams return no text."""
        headers = [(name, value) for name, value in self.headers.items()]
        try:
            with client.stream(
                self.method, self.path, content=self.body, headers=headers
            ) as answer:
                stream = answer.headers.get("content-type", "").startswith("text/event-stream")
                return answer.status_code, "" if stream else answer.read().decode(errors="replace")
        except (httpx.TransportError, httpx.InvalidURL):
            return 0, ""


class Odd:
    """All odd requests to one Gifster.

    Parameters:
      client: a client for its pages.
      gif_id: an existing GIF.
      image: a valid image.
      admin: the headers of an admin, who may use most places.
      others: how many texts to try in each place besides the worst ones; they change from place
        to place. None: all texts.
    """

    def __init__(
        self,
        client: httpx.Client,
        gif_id: str,
        image: bytes,
        admin: dict[str, str],
        others: int | None = None,
    ) -> None:
        self._client, self._image, self._others = client, image, others
        self._turn = {id(of): itertools.cycle(of) for of in (TEXTS, VALUES)}
        self._admin = {name: value.encode() for name, value in admin.items()}
        self._number = itertools.count()
        self._ids = {
            "gif_id": gif_id,
            "collection_id": "1" * 12,
            "queue": "default",
            "job_id": "0" * 32,
            "worker_id": "a:1:b",
            "report_id": "1" * 12,
            "upload_id": "1" * 12,
        }

    def requests(self) -> Iterator[Request]:
        """A request for each text in each place."""
        for request in itertools.chain(
            self._operations(), self._forms(), self._queries(), self._headers(), self._bodies()
        ):
            yield replace(request, headers=self._admin | request.headers)

    def _some(self, of: dict[str, T]) -> list[tuple[str, T]]:
        """The texts or values for one place."""
        if self._others is None:
            return list(of.items())
        others = itertools.islice(self._turn[id(of)], self._others)
        names = dict.fromkeys([*(name for name in WORST if name in of), *others])
        return [(name, of[name]) for name in names]

    def _operations(self) -> Iterator[Request]:
        described = document()
        for path, item in described["paths"].items():
            of_all = item.get("parameters", [])
            for method, operation in item.items():
                if method == "parameters":
                    continue
                where = f"{method.upper()} {path}"
                for parameter in [*of_all, *operation.get("parameters", [])]:
                    yield from self._parameter(where, _resolved(described, parameter))
                contents = operation.get("requestBody", {}).get("content", {})
                for kind, content in contents.items():
                    names = list(_resolved(described, content["schema"])["properties"])
                    for name in names:
                        yield from self._field(where, kind, name, names)

    def _parameter(self, where: str, parameter: dict[str, Any]) -> Iterator[Request]:
        method, _, path = where.partition(" ")
        name = parameter["name"]
        for text, value in self._some(TEXTS):
            place = f"{where} {parameter['in']} {name}"
            if parameter["in"] == "path":
                changed = self._path(path, **{name: _escaped(value)})
                kind, body = _json({"quiet" if name == "worker_id" else "paused": False})
                yield Request(place, text, method, changed, kind, body)
            else:
                yield Request(place, text, method, f"{path}?{name}={_escaped(value)}")

    def _field(self, where: str, kind: str, name: str, names: list[str]) -> Iterator[Request]:
        method, _, path = where.partition(" ")
        path, place = self._path(path), f"{where} {kind} {name}"
        if kind == "application/json":
            for text, value in self._some(TEXTS):
                yield Request(place, text, method, path, *self._json_with(names, name, value))
            for text, raw in self._some(VALUES):
                yield Request(place, text, method, path, *self._json_raw(names, name, raw))
        else:
            for text, value in self._some(TEXTS):
                yield from self._parts(place, text, method, path, name, value)

    def _forms(self) -> Iterator[Request]:
        headers = {name: value.decode() for name, value in self._admin.items()}
        pages = [*FORM_PAGES, f"/gifs/{self._ids['gif_id']}"]
        found = _Forms()
        for page in pages:
            found.feed(self._client.get(page, headers=headers).text)
        for (method, action, multipart), fields in found.forms.items():
            # The page has the hidden field only after a rejected form.
            for name in [*fields, "image_cache"] if multipart else fields:
                place = f"form {method} {action} {name}"
                for text, value in self._some(TEXTS):
                    if multipart:
                        yield from self._parts(place, text, method, action, name, value)
                        continue
                    others = {other: self._good(other) for other in fields} | {name: value}
                    form = "&".join(f"{key}={_escaped(each)}" for key, each in others.items())
                    if method == "GET":
                        yield Request(place, text, method, f"{action}?{form}")
                    else:
                        kind = {"Content-Type": b"application/x-www-form-urlencoded"}
                        yield Request(place, text, method, action, kind, form.encode())

    def _parts(
        self, place: str, text: str, method: str, path: str, name: str, value: Text
    ) -> Iterator[Request]:
        """The text as the value, name and type of a field, and as the file's name."""
        kind = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}".encode()}
        odd, image = _bytes(value), self._image
        file = _part(b'name="image"; filename="a.gif"', image)
        ways = {
            "value": _part(f'name="{name}"'.encode(), odd) + file,
            "name": _part(b'name="' + odd + b'"', b"a") + file,
            "type": _part(f'name="{name}"'.encode(), b"a", odd) + file,
        }
        if name == "image":
            star = b"name=\"image\"; filename*=UTF-8''" + _escaped(value).encode()
            charset = b'name="image"; filename*=' + odd + b"''a.gif"
            ways |= {
                "filename": _part(b'name="image"; filename="' + odd + b'.gif"', image),
                "filename*": _part(star, image),
                "charset of filename*": _part(charset, image),
            }
        for way, body in ways.items():
            whole = body + f"--{BOUNDARY}--\r\n".encode()
            yield Request(f"{place} ({way})", text, method, path, kind, whole)

    def _queries(self) -> Iterator[Request]:
        for path, names in QUERIES.items():
            for name in names:
                for text, value in self._some(TEXTS):
                    yield Request(f"{path} {name}", text, "GET", f"{path}?{name}={_escaped(value)}")
                    odd = f"{path}?{_escaped(value)}=a&{name}=a&{name}=b"
                    yield Request(f"{path} name", text, "GET", odd)
        kind = _json({})[0]
        for text, raw in self._some(VALUES):
            for whole in ('{"shown": %s}', '{"shown": {"a": %s}}', '{"shown": {"a": [null, %s]}}',
                          '{"shown": {"a": ["a", "b"]}, "wait_s": %s}'):  # fmt: skip
                body = whole.replace("%s", raw).encode()
                yield Request("POST /cards", text, "POST", "/cards", kind, body)
        for text, value in self._some(TEXTS):
            if isinstance(value, str):
                _, body = _json({"shown": {value: ["ready", value]}, "wait_s": 0})
                yield Request("POST /cards shown", text, "POST", "/cards", kind, body)

        # The page has these buttons only while such jobs and workers exist.
        head = {"Content-Type": b"application/x-www-form-urlencoded"}
        for do in ("retry", "delete", "pause", "resume", "quiet", "wake"):
            for text, value in self._some(TEXTS):
                form = f"do={do}&of={_escaped(value)}".encode()
                yield Request(f"form POST /jobs of ({do})", text, "POST", "/jobs", head, form)

    def _headers(self) -> Iterator[Request]:
        login = b"email=odd%40example.org&password=none"
        form = {"Content-Type": b"application/x-www-form-urlencoded"}
        for name in HEADERS:
            for text, value in self._some(TEXTS):
                for prefix in _PREFIXES.get(name, [b""]):
                    odd = {name: prefix + _bytes(value)}
                    yield Request(f"header {name}", text, "GET", "/api/gifs", odd)
                    yield Request(f"header {name}", text, "POST", "/logout", form | odd, login)

    def _bodies(self) -> Iterator[Request]:
        kind = _json({})[0]
        path = self._path("/api/gifs/{gif_id}")
        for text, body in BODIES.items():
            yield Request("JSON body", text, "PATCH", path, kind, body)
        for odd in KINDS:
            head = {"Content-Type": odd.encode("latin-1")}
            for method, to in [("PATCH", path), ("POST", "/api/gifs"), ("POST", "/login")]:
                yield Request("Content-Type", odd, method, to, head, b'{"title": "a"}')

    def _path(self, path: str, **given: str) -> str:
        return path.format(**(self._ids | given))

    def _good(self, name: str) -> Any:
        """A valid value for a field, so that only the odd one can be rejected."""
        return {
            "email": f"odd{next(self._number)}@example.org", "password": "short", "tags": ["a"],
            "remote_image_url": "http://localhost/a.gif", "paused": False, "quiet": False,
        }.get(name, "a")  # fmt: skip

    def _json_with(
        self, names: list[str], name: str, value: Text
    ) -> tuple[dict[str, bytes], bytes]:
        if isinstance(value, bytes):
            head, body = self._json_raw(names, name, '"@"')
            return head, body.replace(b'"@"', b'"' + value + b'"')
        return self._json_raw(names, name, json.dumps(value))

    def _json_raw(self, names: list[str], name: str, raw: str) -> tuple[dict[str, bytes], bytes]:
        head, body = _json({each: self._good(each) for each in names} | {name: "@here@"})
        return head, body.replace(b'"@here@"', raw.encode("utf-8", "surrogatepass"))


#: Prefixes without which nobody would parse the odd text.
_PREFIXES = {
    "Authorization": [b"Bearer ", b"Basic ", b""],
    "Cookie": [b"gifster_session=", b'gifster_session="\\000', b""],
    "Range": [b"bytes=", b""],
    "Forwarded": [b"for=", b""],
}


class _Forms(HTMLParser):
    """Collects the forms of pages: method, action, whether multipart, and the field names."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: dict[tuple[str, str, bool], dict[str, None]] = {}
        self._fields: dict[str, None] = {}

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        if tag == "form":
            multipart = given.get("enctype") == "multipart/form-data"
            key = ((given.get("method") or "get").upper(), given.get("action") or "/", multipart)
            self._fields = self.forms.setdefault(key, {})
        elif tag in ("input", "button", "select", "textarea") and (name := given.get("name")):
            self._fields[name] = None


def _resolved(described: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref")
    if reference is None:
        return schema
    found = described
    for step in reference.removeprefix("#/").split("/"):
        found = found[step]
    return found


def _bytes(text: Text) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")


def _escaped(text: Any) -> str:
    if isinstance(text, (str, bytes)):
        return quote_from_bytes(_bytes(text), safe="")
    return quote(str(text), safe="")


def _json(document: dict[str, Any]) -> tuple[dict[str, bytes], bytes]:
    return {"Content-Type": b"application/json"}, json.dumps(document).encode()


def _part(disposition: bytes, content: bytes, kind: bytes = b"") -> bytes:
    head = f"--{BOUNDARY}\r\nContent-Disposition: form-data; ".encode() + disposition
    return head + (b"\r\nContent-Type: " + kind if kind else b"") + b"\r\n\r\n" + content + b"\r\n"


def send_some(
    client: httpx.Client,
    requests: Iterator[Request],
    number: int,
    note: Callable[[int, str, str], None],
) -> None:
    """Send the next `number` requests; call `note` with the status and text of each answer, and
    with the place and name of the odd text."""
    for request in itertools.islice(requests, number):
        status, answer = request.send(client)
        note(status, answer, f"{request.place}: {request.text}")


def again_and_again(
    client: httpx.Client, gif_id: str, image: bytes, admin: dict[str, str]
) -> Iterator[Request]:
    """All odd requests, repeated endlessly in a new order each time."""
    for seed in itertools.count():
        requests = list(Odd(client, gif_id, image, admin).requests())
        random.Random(seed).shuffle(requests)
        yield from requests
