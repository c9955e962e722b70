"""Receives the body of one request of a resumable upload. What has come of a body that breaks off
is kept."""

from falcon.asgi import Request

from gifster.api.adapter import GONE
from gifster.api.bodies import guarded
from gifster.api.context import Context, trim
from gifster.api.problems import Problem
from gifster.uploads import UploadError
from gifster.uploads.files.gathering import Gathered
from gifster.uploads.resumable.receiving import Receiver
from gifster.uploads.resumable.table import OffsetMoved, PartsLost


async def receive(context: Context, req: Request, receiver: Receiver) -> None:
    """Receive a body to its end.

    Raises:
      Problem: it is too slow, too long, or breaks off.
      ProtocolError, OffsetMoved, UploadError: as `Receiver.write()` and `Receiver.end()`.
    """
    context.memory.taken()
    body = _Body(context, receiver)
    try:
        try:
            await _read(context, req, receiver, body)
            await body.pass_on()
            receiver.check()
            await _keep(context, receiver)
        except UploadError:
            await body.given_up()
            await context.write(receiver.abort)  # it is of no use
            raise
        except BaseException:
            await body.break_off()
            raise
    finally:
        if context.memory.given_back():
            await context.write(trim)


async def _keep(context: Context, receiver: Receiver) -> None:
    """Do what `Receiver.keep()` does: a bucket that hangs occupies no thread that answers other
    requests."""
    try:
        if receiver.is_stored:
            await context.run(receiver.note)
        await context.write(receiver.store)
        await context.run(receiver.note)
    finally:
        await context.write(receiver.tidy)


async def _read(context: Context, req: Request, receiver: Receiver, body: "_Body") -> None:
    upload = receiver.upload
    rest, came = upload.length - upload.received, 0
    if (req.content_length or 0) > rest:
        raise _too_long(rest)
    async with context.bodies.place(context.client(req)) as place:
        async for chunk in guarded(req.stream, context.settings.web, rest, place):
            came += len(chunk)
            await body.take(chunk)
    if GONE in req.scope or came < (req.content_length or 0):
        raise Problem(400, "body_incomplete", "The body ends too early. Go on at the offset.")


def _too_long(rest: int) -> Problem:
    detail = f"The body is longer than the rest of the upload, which has {rest:,} bytes."
    return Problem(413, "upload_length_exceeded", detail)


class _Body:
    """Gathers chunks, so that a thread gets pieces of some size."""

    def __init__(self, context: Context, receiver: Receiver) -> None:
        self._context, self._receiver = context, receiver
        self._gathered = Gathered(self._write)

    async def take(self, chunk: bytes) -> None:
        await self._gathered.add(chunk)

    async def pass_on(self) -> None:
        """Write what has been gathered, and keep it if it is time."""
        await self._write(await self._gathered.rest())

    async def _write(self, chunks: list[bytes], _slowly: bool = False) -> None:
        piece = b"".join(chunks)
        if piece:
            is_time = await self._context.write(self._receiver.write, piece)
            if is_time:
                await _keep(self._context, self._receiver)

    async def given_up(self) -> None:
        """Nothing is written any more once this has returned."""
        await self._gathered.given_up()

    async def break_off(self) -> None:
        """Keep what has come."""
        try:
            await self._gathered.given_up()
            if piece := b"".join(await self._gathered.rest()):
                await self._context.write(self._receiver.write, piece)
            if self._receiver.may_keep:
                await _keep(self._context, self._receiver)
        except (OffsetMoved, PartsLost):
            pass  # the client goes on in another request, or has to begin again
        finally:
            await self._context.write(self._receiver.abort)
