"""Bodies of requests: of which media type they are, how fast they must come; and small ones,
which are read whole.

A body that stalls, trickles or exceeds its limit is cut off (408, 413).
"""

import asyncio
import json
import time
from collections.abc import AsyncIterable, AsyncIterator
from urllib.parse import parse_qs

from falcon.asgi import Request

from gifster.api.adapter import GONE
from gifster.api.body_places import Place
from gifster.api.context import Context
from gifster.api.problems import Problem
from gifster.app.settings import Web
from gifster.jobs.wording import wrong
from gifster.uploads.text import is_text

JSON, MERGE_PATCH = "application/json", "application/merge-patch+json"
MULTIPART, URL_ENCODED = "multipart/form-data", "application/x-www-form-urlencoded"

#: How long a small body may be (bytes); also the fields beside a file, with the multipart framing.
SMALL_BYTES = 64 * 1024
#: A body may come in so many pieces of any size; in more if they have so many bytes on average.
#: Each piece costs some 0.1 ms, and a body can be millions of pieces of one byte (RFC 9112, 7.1).
FREE_PIECES, PIECE_BYTES = 10_000, 64


def media_type(req: Request) -> str:
    """A body's media type in lower case, without parameters (RFC 9110, 8.3.1); "" if it has
    none."""
    return str(req.content_type or "").partition(";")[0].strip().lower()


def require_media_type(req: Request, *taken: str, hint: str = "") -> None:
    """Refuse a body of another media type than those given.

    Parameters:
      hint: more about the body that is wanted, for people.

    Raises:
      Problem: 415, with the accepted types; for a PATCH also in `Accept-Patch` (RFC 5789).
    """
    sent = media_type(req)
    if sent in taken:
        return
    said = f"The body is {sent[:100]!a}" if sent else "The body has no Content-Type"
    detail = f"{said}. Send {' or '.join(taken)}{hint}."
    headers = {"Accept-Patch": ", ".join(taken)} if req.method == "PATCH" else None
    raise Problem(415, "content_type_unsupported", detail, headers=headers)


async def guarded(
    stream: AsyncIterable[bytes], limits: Web, max_bytes: int, place: Place | None = None
) -> AsyncIterator[bytes]:
    """A body's chunks, as long as they come fast enough and are not too many.

    Parameters:
      place: of an upload's body; it learns how much has come, and may have the body wait.

    Raises:
      Problem: 408 for a body that stalls for `body_stall_s` seconds, or that after that time
        averages less than `body_min_bytes_per_s`; 413 for a body of more than `max_bytes`; 400 for
        a body in far too many pieces.
    """
    started = time.monotonic()
    received = pieces = 0
    watch = _Watch(limits.body_stall_s)
    chunks = aiter(stream)
    try:
        while True:
            watch.waits()
            try:
                chunk = await anext(chunks)
            except StopAsyncIteration:
                return
            except asyncio.CancelledError:
                watch.raise_if_stalled()
                raise
            elapsed = watch.came() - started
            received, pieces = received + len(chunk), pieces + 1
            if place is not None:
                place.received = received
                if place.must_wait():
                    waits_since = time.monotonic()
                    await place.again()
                    started += time.monotonic() - waits_since
            if received > max_bytes:
                raise Problem(413, "too_large", f"The body is larger than {max_bytes:,} bytes.")
            if pieces > FREE_PIECES and received < pieces * PIECE_BYTES:
                raise Problem(400, "body_in_crumbs", "The body comes in too many small pieces.")
            if elapsed > limits.body_stall_s and received < elapsed * limits.body_min_bytes_per_s:
                raise Problem(408, "body_too_slow", "The upload was too slow.")
            yield chunk
    finally:
        watch.end()


class _Watch:
    """Cancels a task that waits too long for a chunk. It does what `asyncio.timeout()` does, but
    needs one timer for a body instead of one for each chunk.

    Parameters:
      stall_s: how long is too long (seconds).
    """

    def __init__(self, stall_s: float) -> None:
        self._stall_s, self._stalled = stall_s, False
        self._task = asyncio.current_task()
        self._loop = asyncio.get_running_loop()
        #: Since when the task waits; None while it does something else.
        self._since: float | None = None
        self._timer = self._loop.call_later(stall_s, self._look)

    def waits(self) -> None:
        self._since = time.monotonic()

    def came(self) -> float:
        """A chunk came. Returns the time."""
        self._since = None
        return time.monotonic()

    def _look(self) -> None:
        now = time.monotonic()
        waited = 0.0 if self._since is None else now - self._since
        if waited >= self._stall_s and self._task is not None:
            self._stalled = True
            self._task.cancel()
            return
        self._timer = self._loop.call_later(max(0.01, self._stall_s - waited), self._look)

    def raise_if_stalled(self) -> None:
        """Raise `Problem` (408) if it was this watch that cancelled the task, and nobody else."""
        if self._stalled and self._task is not None and self._task.uncancel() <= 0:
            raise Problem(408, "body_stalled", "The upload stalled for too long.") from None

    def end(self) -> None:
        self._timer.cancel()


async def small_body(context: Context, req: Request) -> bytes:
    """A body of at most 64 KiB.

    Raises:
      Problem: 413, 408; 400 for a body that ends too early (RFC 9112, 8).
    """
    if (req.content_length or 0) > SMALL_BYTES:
        raise Problem(413, "too_large", f"The body is larger than {SMALL_BYTES:,} bytes.")
    body = bytearray()  # each chunk would be an object, however small
    async for chunk in guarded(req.stream, context.settings.web, SMALL_BYTES):
        body += chunk
    if GONE in req.scope or len(body) < (req.content_length or 0):
        raise Problem(400, "body_incomplete", "The body ends too early.")
    return bytes(body)


async def json_object(context: Context, req: Request, *also: str) -> dict[str, object]:
    """A JSON object.

    Parameters:
      also: media types that are accepted besides `application/json`.

    Raises:
      Problem: 415 for another media type, 400 for malformed JSON or text, 422 for JSON that is not
        an object.
    """
    require_media_type(req, JSON, *also)
    document = parsed_json(await small_body(context, req))
    if not isinstance(document, dict):
        raise Problem(422, "json_not_object", "The body must be a JSON object.")
    return document


def parsed_json(body: bytes) -> object:
    """A JSON document in UTF-8 (RFC 8259, 8.1), with or without a byte order mark. If a name is
    repeated, its last value counts.

    Raises:
      Problem: 400, it is not JSON, or has a malformed text.
    """
    try:
        document = json.loads(body.decode("utf-8-sig"), parse_constant=_refused)
    except (ValueError, RecursionError):
        raise Problem(400, "json_malformed", "The body is not JSON in UTF-8.") from None
    waiting = [document]
    while waiting:
        match waiting.pop():
            case str(text):
                require_text(text)
            case list(items):
                waiting += items
            case dict(members):
                require_text(*members)
                waiting += members.values()
    return document


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def wrong_field(name: str, value: object, use: str) -> Problem:
    """The answer to a field that has no model.

    Parameters:
      use: which values are right, as `wrong()` takes it.
    """
    return Problem(422, "field_invalid", wrong(name, value, use))


async def url_form(context: Context, req: Request) -> dict[str, str]:
    """The fields of a page's form without files. If a field is repeated, its first value counts.

    Raises:
      Problem: as `url_fields()`.
    """
    return {name: values[0] for name, values in (await url_fields(context, req)).items()}


async def url_fields(context: Context, req: Request, most: int = 32) -> dict[str, list[str]]:
    """The fields of a page's form without files, each with all its values.

    Parameters:
      most: how many values the form may have.

    Raises:
      Problem: 415 for another media type, 400 for a malformed form or text.
    """
    require_media_type(req, URL_ENCODED)
    try:
        fields = parse_qs((await small_body(context, req)).decode("utf-8"), max_num_fields=most)
    except ValueError:
        raise Problem(400, "form_malformed", "The form cannot be read.") from None
    require_text(*fields, *(value for values in fields.values() for value in values))
    return fields


def require_text(*texts: str) -> None:
    """Refuse text that PostgreSQL or UTF-8 cannot hold. JSON, forms, queries and paths come through
    here; what a text may say beyond that is decided in `app/texts.py`.

    Raises:
      Problem: 400, one of the texts has a NUL or a lone surrogate.
    """
    if not all(map(is_text, texts)):
        raise Problem(
            400, "text_malformed", "A text has a NUL character or half of a surrogate pair."
        )
