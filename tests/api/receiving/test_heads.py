"""Heads of requests: long ones are refused before anything reads them. Connections without a whole
head are closed, and so are answers to clients that do not read."""

import asyncio
import json
import socket
import subprocess
import sys
from typing import Any

import psutil
import pytest

from gifster.api.adapter import adapted
from gifster.cli.processes import MOST_CONNECTIONS, _connections
from tests.machine import eventually
from tests.stack import Stack

#: One second for a head, and for a client to take something of an answer.
WEB = {"GIFSTER_WEB__HEAD_TIMEOUT_S": "1", "GIFSTER_WEB__BODY_STALL_S": "1"}
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: gifster\r\n"


def answer_to(scope: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """The status and the problem that a request gets. A request that reaches the application gets a
    200."""
    messages: list[dict[str, Any]] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    async def send(message: dict[str, Any]) -> None:
        messages.append(message)

    asyncio.run(adapted(application, 5)(scope, None, send))
    start, body = messages
    return start["status"], json.loads(body["body"])


def head(*headers: tuple[bytes, bytes], path: bytes = b"/", query: bytes = b"") -> dict[str, Any]:
    return {
        "type": "http", "http_version": "1.1", "method": "POST", "path": path.decode(),
        "raw_path": path, "query_string": query, "headers": list(headers),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ([(b"x", b"a" * 8_187)], None),
        ([(b"x", b"a" * 8_188)], "headers_too_long"),
        ([(b"x", b"a" * 400_000)], "headers_too_long"),
        ([(b"x-%d" % number, b"a" * 90) for number in range(99)], "headers_too_long"),
        ([(b"forwarded", b"for=a," * 1_400)], "headers_too_long"),
        ([(b"content-type", b'a/b;"' + b";" * 507)], None),
        ([(b"content-type", b'a/b;"' + b";" * 508)], "header_too_long"),
        ([(b"accept", b"a" * 2_048)], None),
        ([(b"accept", b"a" * 1_024), (b"accept", b"a" * 1_025)], "header_too_long"),
        ([(b"cookie", b"a" * 9_000)], "header_too_long"),
    ],
)
def test_headers_that_are_too_long_are_refused_unread(
    headers: list[tuple[bytes, bytes]], code: str | None
):
    status, problem = answer_to(head(*headers))

    assert (status, problem.get("code")) == ((431, code) if code else (200, None))


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [
        (b"/" + b"a" * 8_187, b"", 200),
        (b"/" + b"a" * 8_188, b"", 414),
        (b"/", b"q=" + b"a" * 8_186, 414),
        (b"/" + b"%41" * 2_730, b"", 414),
    ],
)
def test_a_request_line_that_is_too_long_is_refused_unread(path: bytes, query: bytes, status: int):
    found, problem = answer_to(head(path=path, query=query))

    assert found == status
    assert problem.get("code") == (None if status == 200 else "uri_too_long")


def all_of(connection: socket.socket) -> bytes:
    """Everything that comes until the server closes the connection."""
    pieces = []
    while piece := connection.recv(65536):
        pieces.append(piece)
    return b"".join(pieces)


def test_a_refusal_is_a_problem_and_ends_the_connection(web: Stack, connection: socket.socket):
    connection.sendall(HEALTH + b"X: " + b"a" * 9_000 + b"\r\n\r\n" + HEALTH + b"\r\n")

    start, _, body = all_of(connection).partition(b"\r\n\r\n")

    assert start.startswith(b"HTTP/1.1 431 ")
    assert b"content-type: application/problem+json" in start
    assert json.loads(body)["code"] == "headers_too_long"
    # It is counted
    line = 'gifster_http_requests_total{method="GET",route="other",status="431"} 1.0'
    eventually(lambda: line in web.client.get("/metrics").text)


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"P", id="a byte"),
        pytest.param(HEALTH + b"X: a", id="half a head"),
        pytest.param(HEALTH + b"\r\n" + HEALTH, id="one and a half"),
        # An HTTP/2 connection has no such limit
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", id="HTTP/2"),
    ],
)
def test_a_connection_without_a_whole_head_is_closed(connection: socket.socket, sent: bytes):
    connection.sendall(sent)

    answered = all_of(connection)

    assert answered.count(b"HTTP/1.1 200 OK") == sent.count(b"\r\n\r\n" + HEALTH)


def test_nothing_is_kept_for_a_client_that_does_not_read(web: Stack):
    # Given a stored file that is larger than the socket buffers of both ends
    (web.var / "store").mkdir(exist_ok=True)
    (web.var / "store" / "large").write_bytes(bytes(30_000_000))
    [server] = psutil.Process(web.processes[0].pid).children()

    def open_there() -> bool:
        return any(file.path.endswith("/large") for file in server.open_files())

    # When its client reads nothing of it, though the server has begun to send it. (The head of a
    # request must come within a second of its connection.)
    with socket.create_connection(("127.0.0.1", web.port), timeout=60) as connection:
        connection.sendall(b"GET /media/large HTTP/1.1\r\nHost: gifster\r\n\r\n")
        eventually(lambda: len(connection.recv(50_000, socket.MSG_PEEK)) > 10_000)

        # I expect the file to be closed, no more to come than was on its way, and an empty log
        eventually(lambda: not open_there())
        assert len(all_of(connection)) < 30_000_000
    assert "Traceback" not in web.log("gifster-web")


def test_an_answer_without_progress_is_abandoned():
    async def application(scope: Any, receive: Any, send: Any) -> None:
        while True:
            await send({"type": "http.response.body", "body": b"a", "more_body": True})

    async def stalled(message: Any) -> None:
        await asyncio.Event().wait()

    asyncio.run(adapted(application, 0.01)(head(), None, stalled))


def test_there_is_room_for_the_files_of_all_connections():
    assert _connections(1_024) == 384
    assert _connections(65_536) == MOST_CONNECTIONS == 4_000


def test_the_web_server_raises_its_limit_of_open_files():
    # Given a shell's limit that may be raised
    code = (
        "import resource as r; hard = min(r.getrlimit(r.RLIMIT_NOFILE)[1], 5000);"
        "r.setrlimit(r.RLIMIT_NOFILE, (200, hard));"
        "from gifster.cli.processes import _allow_many_files;"
        "print(hard, _allow_many_files(), *r.getrlimit(r.RLIMIT_NOFILE))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert len(set(told.stdout.split())) == 1
