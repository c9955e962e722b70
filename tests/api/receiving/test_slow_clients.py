"""Bodies that stall, trickle, break off or never end are cut off with an answer, and leave nothing
behind."""

import socket
import threading
from collections.abc import Iterator

import pytest

from tests import images
from tests.machine import eventually, files_below
from tests.stack import Stack

HEAD = (
    b"POST /api/gifs HTTP/1.1\r\nHost: gifster\r\n"
    b"Content-Type: multipart/form-data; boundary=b\r\n%s\r\n\r\n"
)
PART = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.gif"\r\n\r\n'
GIF = images.noisy_gif((600, 500), 4)


#: The web server of these tests has little patience: one second, and 50 kB/s after that.
WEB = {"GIFSTER_WEB__BODY_STALL_S": "1", "GIFSTER_WEB__BODY_MIN_BYTES_PER_S": "50000"}


def read_answer(connection: socket.socket) -> bytes:
    answer = b""
    while b"\r\n\r\n" not in answer or not answer.endswith(b"}"):
        piece = connection.recv(65536)
        if not piece:
            break
        answer += piece
    return answer


def nothing_left(web: Stack) -> None:
    # Without a worker, an upload that was accepted stays.
    eventually(lambda: not any(name.endswith(".tmp") for name in files_below(web.var / "cache")))
    assert web.client.get("/api/gifs").json()["items"] == []


def test_a_stalled_body_is_cut_off(web: Stack, connection: socket.socket):
    # Given an upload that stops after 300 kB, which are in the cache
    connection.sendall(HEAD % b"Content-Length: 1000000" + PART + GIF[:300_000])

    answer = read_answer(connection)

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"code": "body_stalled"' in answer
    nothing_left(web)


def test_a_body_that_never_begins_is_cut_off(web: Stack, connection: socket.socket):
    connection.sendall(HEAD % b"Content-Length: 1000000")

    assert b'"code": "body_stalled"' in read_answer(connection)
    nothing_left(web)


def test_a_trickling_body_is_cut_off(web: Stack, connection: socket.socket):
    # Given an upload of a few bytes now and then
    connection.sendall(HEAD % b"Content-Length: 1000000" + PART + GIF[:1000])
    done = threading.Event()

    def trickle() -> None:
        try:
            while not done.wait(0.2):
                connection.sendall(b"abcd")
        except OSError:
            pass

    thread = threading.Thread(target=trickle)
    thread.start()
    answer = read_answer(connection)
    done.set()
    thread.join()

    assert b'"code": "body_too_slow"' in answer
    nothing_left(web)


def test_a_client_that_goes_away_leaves_nothing(web: Stack):
    for sent in (10, 1000, 300_000):
        with socket.create_connection(("127.0.0.1", web.port)) as connection:
            connection.sendall(HEAD % b"Content-Length: 1000000" + PART + GIF[:sent])
    nothing_left(web)


def test_an_endless_chunked_body_is_cut_off_at_the_limit(web: Stack):
    # Given a body that does not say how long it is
    def endless() -> Iterator[bytes]:
        yield PART + GIF
        for _ in range(2000):
            yield bytes(100_000)

    answer = web.client.post(
        "/api/gifs",
        content=endless(),
        headers={"Content-Type": "multipart/form-data; boundary=b"},
    )

    assert answer.status_code == 413
    assert answer.json()["code"] == "too_large"
    nothing_left(web)


def test_a_body_that_is_too_long_is_refused_before_it_is_read(
    web: Stack, connection: socket.socket
):
    # Given only the head of a request
    connection.sendall(HEAD % b"Content-Length: 300000000")

    answer = read_answer(connection)

    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"code": "too_large"' in answer


def test_others_are_served_while_many_bodies_trickle(web: Stack):
    # Given a hundred uploads under way
    connections = []
    try:
        for _ in range(100):
            connection = socket.create_connection(("127.0.0.1", web.port))
            connection.sendall(HEAD % b"Content-Length: 1000000" + PART + GIF[:2000])
            connections.append(connection)

        # I expect answers as if they were not there
        assert all(web.client.get("/api/gifs").status_code == 200 for _ in range(20))
        answered = web.upload(images.gif())
        assert answered.status_code == 202
        assert web.client.delete(f"/api/gifs/{answered.json()['id']}").status_code == 204
    finally:
        for connection in connections:
            connection.close()
    # The last of them may begin only now
    eventually(lambda: len(files_below(web.var / "cache")) <= 1)
    nothing_left(web)


def test_http_1_0_is_answered(web: Stack, connection: socket.socket):
    # As nginx asks by default
    connection.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")

    assert b" 200 " in read_answer(connection)


@pytest.mark.parametrize("framing", ["length", "chunks", "broken chunks"])
def test_an_incomplete_body_does_nothing(web: Stack, framing: str):
    # Given a sign-up whose connection breaks in the middle of the password
    email = f"{framing.replace(' ', '')}@example.org"
    cut = f"email={email}&password=correct+hor".encode()
    ends = {
        "length": b"Content-Length: %d\r\n\r\n%s" % (len(cut) + 2, cut),
        "chunks": b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (len(cut), cut),
        "broken chunks": b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\nzz\r\n" % (len(cut), cut),
    }
    head = (
        b"POST /signup HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Type: application/x-www-form-urlencoded\r\n"
    )
    with socket.create_connection(("127.0.0.1", web.port), timeout=60) as connection:
        connection.sendall(head + ends[framing])
        connection.shutdown(socket.SHUT_WR)
        connection.recv(4096)

    # I expect that there is no account with half a password
    form = {"email": email, "password": "correct hor"}
    answer = web.client.post("/login", data=form)
    web.client.cookies.clear()
    assert answer.status_code == 403
