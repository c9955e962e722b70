"""A body is written in large pieces while it is quick, and soon when it is slow."""

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from gifster.uploads.files import gathering
from gifster.uploads.files.cache import CacheWriter
from gifster.uploads.files.gathering import GATHERED_BYTES, WORTH_BYTES, Gathered
from gifster.uploads.files.sources import cache_form_part
from tests import images
from tests.machine import eventually
from tests.uploads.framework import Application, AvatarUploader

CHUNK = bytes(10_000)


class Writer:
    """Notes what it is to write."""

    def __init__(self) -> None:
        self.pieces: list[int] = []
        self.slowly: list[bool] = []
        self.called = asyncio.Event()
        self.error: Exception | None = None

    async def write(self, chunks: list[bytes], slowly: bool) -> None:
        self.called.set()
        if self.error is not None:
            raise self.error
        self.pieces.append(sum(map(len, chunks)))
        self.slowly.append(slowly)


def test_a_quick_body_is_written_in_large_pieces():
    async def check() -> None:
        writer = Writer()
        gathered = Gathered(writer.write)
        for _ in range(60):
            await gathered.add(CHUNK)
        rest = await gathered.rest()

        assert min(writer.pieces) >= GATHERED_BYTES
        assert not any(writer.slowly)
        assert sum(writer.pieces) + sum(map(len, rest)) == 60 * len(CHUNK)

    asyncio.run(check())


def test_what_has_come_of_a_body_that_stops_is_written_although_nothing_more_comes():
    async def check() -> None:
        writer = Writer()
        gathered = Gathered(writer.write)
        await gathered.add(bytes(WORTH_BYTES))
        await asyncio.wait_for(writer.called.wait(), 60)

        assert gathered.bytes == 0
        assert await gathered.rest() == []
        assert (writer.pieces, writer.slowly) == ([WORTH_BYTES], [True])

    asyncio.run(check())


def test_after_a_piece_that_cannot_be_written_nothing_else_is():
    async def check() -> None:
        # Given a full disk, and a chunk that comes after the one that it has no room for
        writer = Writer()
        writer.error = OSError("no room")
        gathered = Gathered(writer.write)
        await gathered.add(bytes(WORTH_BYTES))
        await asyncio.wait_for(writer.called.wait(), 60)
        writer.error = None

        with pytest.raises(OSError, match="no room"):
            await gathered.add(CHUNK)

        assert await gathered.rest() == []
        assert writer.pieces == []

    asyncio.run(check())


def test_one_piece_is_written_after_the_other_however_slow_the_disk_is(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(gathering, "LOOK_S", 0.01)

    async def check() -> None:
        # Given a slow body, whose beginning a disk is long in taking while all of the rest comes
        begun, goes_on, written = asyncio.Event(), asyncio.Event(), list[bytes]()

        async def write(chunks: list[bytes], _slowly: bool) -> None:
            begun.set()
            await goes_on.wait()
            written.append(b"".join(chunks))

        gathered = Gathered(write)
        await gathered.add(b"a" * WORTH_BYTES)
        await asyncio.wait_for(begun.wait(), 60)
        begun.clear()
        rest = asyncio.create_task(gathered.add(b"b" * GATHERED_BYTES))

        # I expect that nobody begins to write that before the beginning is on the disk
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(begun.wait(), 20 * gathering.LOOK_S)
        goes_on.set()
        await rest
        assert written == [b"a" * WORTH_BYTES, b"b" * GATHERED_BYTES]

    asyncio.run(check())


def test_a_file_whose_rest_is_long_in_coming_is_not_held(
    application: Application, monkeypatch: pytest.MonkeyPatch
):
    # Given a form whose file comes in part, and then stands still
    content = images.noisy_gif((400, 300), 2)
    begun = 100_000
    assert len(content) > begun
    more, held, spill = threading.Event(), list[int](), CacheWriter.spill

    def spill_and_count(writer: CacheWriter) -> None:
        spill(writer)
        held.append(writer._content._held_bytes)

    monkeypatch.setattr(CacheWriter, "spill", spill_and_count)

    class Part:
        filename = "a.gif"

        @property
        async def stream(self) -> AsyncIterator[bytes]:
            for start in range(0, begun, 10_000):
                yield content[start : start + 10_000]
            await asyncio.to_thread(more.wait, 120)
            yield content[begun:]

    async def both() -> None:
        uploading = asyncio.create_task(upload())
        try:
            await asyncio.to_thread(eventually, lambda: held)
        finally:
            more.set()
        # I expect that it takes no memory meanwhile, and that the file is whole in the end
        assert held[0] == 0
        assert getattr(await uploading, "bytes", 0) == len(content)

    async def upload() -> object:
        return await cache_form_part(AvatarUploader, Part(), asyncio.to_thread)

    asyncio.run(both())
