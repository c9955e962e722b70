"""What a request keeps in memory of a body while it waits for the rest."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, ClassVar

from gifster.api.adapter import MOST_PIECES, PIECE_BYTES, Body
from gifster.api.bodies import FREE_PIECES, small_body
from gifster.app.settings import Web


class Piece(bytes):
    """A piece of a body. It is counted for as long as somebody has it."""

    now: ClassVar = 0

    def __init__(self, *_: object) -> None:
        Piece.now += 1

    def __del__(self) -> None:
        Piece.now -= 1


def test_a_small_body_in_crumbs_is_no_heap_of_objects():
    # Given a body of as many pieces as may come, each of two bytes
    most = 0

    async def crumbs() -> AsyncIterator[bytes]:
        nonlocal most
        for _ in range(FREE_PIECES):
            yield Piece(b"ab")
            most = max(most, Piece.now)

    request: Any = SimpleNamespace(content_length=None, stream=crumbs(), scope={})
    context: Any = SimpleNamespace(settings=SimpleNamespace(web=Web()))

    body = asyncio.run(small_body(context, request))

    assert body == b"ab" * FREE_PIECES
    assert most <= 2


def test_a_body_is_passed_on_in_pieces():
    # Given a server that has read much at once
    content = bytes(range(250)) * 800
    sent = [
        {"type": "http.request", "body": content, "more_body": True},
        {"type": "http.request", "body": b"the end", "more_body": False},
    ]

    async def receive() -> dict[str, Any]:
        return sent.pop(0)

    async def pieces() -> list[dict[str, Any]]:
        body, got = Body({}, receive), list[dict[str, Any]]()
        while not got or got[-1]["more_body"]:
            got.append(await body.receive())
        return got

    got = asyncio.run(pieces())

    assert max(len(message["body"]) for message in got) == PIECE_BYTES
    assert b"".join(message["body"] for message in got) == content + b"the end"
    assert not sent


def test_the_beginning_of_a_body_in_crumbs_is_one_object():
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": Piece(b"ab"), "more_body": True}

    async def begin() -> tuple[bytes, bytes]:
        body = Body({}, receive)
        await body.receive()
        begun = await body.beginning(10 * MOST_PIECES, 60)
        assert Piece.now <= 1
        return begun, (await body.receive())["body"]

    begun, received = asyncio.run(begin())

    assert begun == received == b"ab" * MOST_PIECES
