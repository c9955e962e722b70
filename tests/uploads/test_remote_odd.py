"""Fetching from servers and by URLs that are odd: what works, what is refused, and what is told.

Real servers on this machine, each of which sends the bytes that a test names.
"""

import gzip
import logging
import socket
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gifster.uploads import errors, remote
from tests import images
from tests.conftest import Platform
from tests.uploads.framework import Application
from tests.uploads.test_remote import fetched

GIF = images.gif(size=(80, 60))
LENGTH = b"Content-Length: %d\r\n" % len(GIF)
OK = b"HTTP/1.1 200 OK\r\n"


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    return Platform(f"sqlite:///{tmp_path}/gifster.db", None)


@pytest.fixture
def app(application: Application) -> Application:
    """May fetch from this machine, as no real one should."""
    application.configure(private_remotes=True)
    return application


class Server:
    """Sends raw answers, one for each connection, and keeps what it was asked."""

    def __init__(self, answers: tuple[bytes, ...]) -> None:
        self.heads: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.thread = threading.Thread(target=self._serve, args=[answers])
        self.thread.start()

    def _serve(self, answers: tuple[bytes, ...]) -> None:
        with self._listener:
            for answer in answers:
                connection, _ = self._listener.accept()
                with connection:
                    head = b""
                    while b"\r\n\r\n" not in head and (piece := connection.recv(65536)):
                        head += piece
                    self.heads.append(head.decode("latin-1"))
                    try:
                        connection.sendall(answer.replace(b"PORT", b"%d" % self.port))
                    except OSError:
                        return

    @property
    def targets(self) -> list[str]:
        return [head.split(" ")[1] for head in self.heads]


@contextmanager
def sending(*answers: bytes) -> Iterator[Server]:
    server = Server(answers)
    yield server
    for _ in answers:  # those that nobody asked for
        try:
            socket.create_connection(("127.0.0.1", server.port), timeout=5).close()
        except OSError:
            break
    server.thread.join(5)


def moved(location: bytes) -> bytes:
    return b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: %s\r\n\r\n" % location


# Where a redirect leads


@pytest.mark.parametrize(
    ("location", "target", "filename"),
    [
        ("/cät/Å.gif".encode(), "/c%C3%A4t/%C3%85.gif", "Å.gif"),
        (b"/c%C3%A4t.gif", "/c%C3%A4t.gif", "cät.gif"),
        (b"/\xe4.gif", "/%E4.gif", None),
        ("http://127.0.0.1:PORT/猫.gif?q=ü".encode(), "/%E7%8C%AB.gif?q=%C3%BC", "猫.gif"),
        (b"b.gif", "/a/b.gif", "b.gif"),
        (b"../b.gif", "/b.gif", "b.gif"),
        (b"//127.0.0.1:PORT/b.gif", "/b.gif", "b.gif"),
        (b"?page=2", "/a/a.gif?page=2", "a.gif"),
        (b"/b.gif#part", "/b.gif", "b.gif"),
        (b"  /b c.gif  ", "/b%20c.gif", "b c.gif"),
        (b"/%00%0d%0a.gif", "/%00%0d%0a.gif", None),
    ],
)
def test_a_redirect_leads_where_a_browser_would_go(
    app: Application, location: bytes, target: str, filename: str | None
):
    with sending(moved(location), OK + LENGTH + b"\r\n" + GIF) as server:
        person = fetched(f"{server.url}/a/a.gif")

    assert server.targets == ["/a/a.gif", target]
    assert filename in (None, person.avatar.assigned.filename)


@pytest.mark.parametrize("location", [b"", b"   "])
def test_a_redirect_to_nowhere_is_a_failure(app: Application, location: bytes):
    with sending(moved(location)) as server:
        with pytest.raises(errors.RemoteFailed, match="302"):
            fetched(server.url)


def test_no_cookies_are_kept_and_nothing_is_told_of_where_one_came_from(app: Application):
    first = moved(b"/b").replace(b"Location", b"Set-Cookie: a=b\r\nLocation")
    with sending(first, OK + LENGTH + b"\r\n" + GIF) as server:
        fetched(f"{server.url}/a")

    names = {line.partition(":")[0] for line in server.heads[1].split("\r\n")[1:] if line}
    assert names == {"Host", "User-Agent", "Accept", "Accept-Encoding"}


# What stands in a URL


def host_of(url: str, monkeypatch: pytest.MonkeyPatch) -> tuple[str, int]:
    """What host is looked up for a URL."""
    asked: list[Any] = []

    def look_up(host: str, port: int, **_: Any) -> Any:
        asked.append((host, port))
        raise socket.gaierror

    monkeypatch.setattr(remote.socket, "getaddrinfo", look_up)
    with pytest.raises(errors.UploadError):
        fetched(url)
    return asked[0]


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("http://bücher.example/", "xn--bcher-kva.example", 80),
        ("https://BÜCHER.example/", "xn--bcher-kva.example", 443),
        # IDNA 2003, which Python's own codec does, leads to strasse.example: somebody else's
        ("http://straße.example/", "xn--strae-oqa.example", 80),
        ("http://例え.テスト/", "xn--r8jz45g.xn--zckzah", 80),
        ("http://bücher。example/", "xn--bcher-kva.example", 80),
        ("http://①②⑦.⓪.⓪.①/", "127.0.0.1", 80),
        ("http://example.org./", "example.org.", 80),
        ("http://my_bucket.example.org:8080/", "my_bucket.example.org", 8080),
        ("http://[::1]/", "::1", 80),
        ("http://[::ffff:127.0.0.1]:8080/", "::ffff:7f00:1", 8080),
        ("http://0x7f.1/", "0x7f.1", 80),
        ("\t http://example.org/ \n", "example.org", 80),
        ("http://exam\nple.org/", "example.org", 80),
    ],
)
def test_hosts_are_looked_up_as_browsers_do(
    app: Application, monkeypatch: pytest.MonkeyPatch, url: str, host: str, port: int
):
    assert host_of(url, monkeypatch) == (host, port)


@pytest.mark.parametrize(
    "url",
    ["http://@example.org/", "http://:@example.org/", "http://a@b@example.org/",
     "http://example.org\\@127.0.0.1/", "http://127.0.0.1\\.example.org/", "http://127%2e0.0.1/",
     "http://exa mple.org/", "http://exam\x00ple.org/", "http://a..b/", "http://.a/", "http://-.é/",
     "http://☃☃.example/", f"http://{'a' * 300}.example/", f"http://{'ä' * 70}.example/",
     "http://[fe80::1%25eth0]/", "http://[fe80::1%eth0]/", "http://[v1.a]/", "http://[127.0.0.1]/",
     "http://[::1]a/", "http://example.org:0/", "http://example.org:-1/", "http://example.org:٨٠/",
     f"http://example.org/{'a' * 9000}",
     "http:/example.org/", "http:example.org", "HTTP+UNIX://a/", "javascript:alert(1)"],
)  # fmt: skip
def test_what_is_no_url_of_a_host_is_refused(app: Application, url: str):
    with pytest.raises(errors.RemoteUrlInvalid):
        fetched(url)


def test_half_a_character_is_in_no_url(app: Application):
    for url in ("http://example.org/\ud800", "http://\ud800.org/"):
        with pytest.raises(errors.RemoteUrlInvalid):
            fetched(url)


@pytest.mark.parametrize("port", [1, 21, 22, 25, 53, 110, 143, 465, 587, 993, 1023, 2049, 5060,
                                  6000, 6667, 10080])  # fmt: skip
def test_ports_of_other_protocols_are_refused(app: Application, port: int):
    with pytest.raises(errors.RemoteUrlInvalid, match=f"port {port}"):
        fetched(f"http://127.0.0.1:{port}/")
    with sending(moved(b"http://127.0.0.1:%d/" % port)) as server:
        with pytest.raises(errors.RemoteUrlInvalid, match=f"port {port}"):
            fetched(server.url)


def test_the_host_is_sent_as_it_was_looked_up(app: Application, monkeypatch: pytest.MonkeyPatch):
    real = socket.getaddrinfo
    monkeypatch.setattr(
        remote.socket,
        "getaddrinfo",
        lambda host, *a, **k: real("127.0.0.1" if "example" in host else host, *a, **k),
    )
    for host, sent in [("bücher.example", "xn--bcher-kva.example"), ("a.example.", "a.example.")]:
        with sending(OK + LENGTH + b"\r\n" + GIF) as server:
            fetched(f"http://{host}:{server.port}/")
        assert f"\r\nHost: {sent}:{server.port}\r\n" in server.heads[0]


# What a server sends


def chunked(*pieces: bytes, trailer: bytes = b"") -> bytes:
    framed = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return b"Transfer-Encoding: chunked\r\n\r\n" + framed + b"0\r\n" + trailer + b"\r\n"


def coded(content: bytes, coding: bytes = b"gzip") -> bytes:
    head = b"Content-Encoding: %s\r\nContent-Length: %d\r\n\r\n" % (coding, len(content))
    return OK + head + content


ZIPPED = gzip.compress(GIF)

GOOD = {
    "early hints": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK + LENGTH + b"\r\n" + GIF,
    "continue": b"HTTP/1.1 100 Continue\r\n\r\n" + OK + LENGTH + b"\r\n" + GIF,
    "many of them": (b"HTTP/1.1 102 Processing\r\n\r\n" + b"HTTP/1.1 103 A\r\n\r\n") * 5 + OK
                    + LENGTH + b"\r\n" + GIF,
    "no length": OK + b"\r\n" + GIF,
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\n\r\n" + GIF,
    "chunks": OK + chunked(GIF[:100], GIF[100:]),
    "chunks with a trailer": OK + chunked(GIF, trailer=b"Digest: abc\r\nLocation: /b\r\n"),
    "chunks and a length": OK + b"Content-Length: 5\r\n" + chunked(GIF),
    "more than the length": OK + LENGTH + b"\r\n" + GIF + b"more",
    "gzip": coded(ZIPPED),
    "gzip in capitals": coded(ZIPPED, b"GZip"),
    "x-gzip": coded(ZIPPED, b"x-gzip"),
    "deflate": coded(zlib.compress(GIF), b"deflate"),
    "identity": coded(GIF, b"identity"),
    "gzip in chunks": OK + b"Content-Encoding: gzip\r\n" + chunked(*[ZIPPED[i:i + 7] for i in
                                                          range(0, len(ZIPPED), 7)]),
    "gzip with more behind it": coded(ZIPPED + b"more"),
}  # fmt: skip


@pytest.mark.parametrize("answer", GOOD.values(), ids=GOOD)
def test_a_file_that_comes_in_an_odd_way_is_taken(app: Application, answer: bytes):
    with sending(answer) as server:
        assert fetched(f"{server.url}/a.gif").avatar.assigned.bytes == len(GIF)


BOMB = gzip.compress(GIF + bytes(200_000_000), compresslevel=9)
BAD = {
    "brotli": (coded(GIF, b"br"), errors.RemoteFailed),
    "two codings": (coded(gzip.compress(ZIPPED), b"gzip, gzip"), errors.RemoteFailed),
    "an unknown coding": (coded(GIF, b"a\xe4" * 500), errors.RemoteFailed),
    "no gzip at all": (coded(GIF), errors.RemoteFailed),
    "gzip cut in the middle": (coded(ZIPPED[:-20]), errors.RemoteFailed),
    "gzip with a wrong sum": (coded(ZIPPED[:-8] + bytes(8)), errors.RemoteFailed),
    "a bomb": (coded(BOMB), errors.TooLarge),
    "a coding of nothing, for ever": (
        OK + b"Content-Encoding: gzip\r\n\r\n" + ZIPPED[:10] + b"\0\0\0\xff\xff" * 300_000,
        errors.TooLarge),
    "gzip in a transfer coding": (
        OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n",
        errors.RemoteFailed),
    "two lengths": (OK + LENGTH + b"Content-Length: 5\r\n\r\n" + GIF, errors.RemoteFailed),
    "less than the length": (OK + LENGTH + b"\r\n" + GIF[:-9], errors.RemoteFailed),
    "a length of 5,000 digits": (OK + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n" + GIF,
                                 errors.TooLarge),
    "chunks cut in the middle": (OK + chunked(GIF)[:-100], errors.RemoteFailed),
    "a chunk of no length": (OK + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\nabc",
                             errors.RemoteFailed),
    "a chunk of a negative length": (OK + b"Transfer-Encoding: chunked\r\n\r\n-5\r\nabc",
                                     errors.RemoteFailed),
    "hints for ever": (b"HTTP/1.1 103 Early Hints\r\n\r\n" * 10_000, errors.RemoteFailed),
    "continue for ever": (b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000, errors.RemoteFailed),
    "another protocol": (b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + GIF, errors.RemoteFailed),
    "a thousand headers": (OK + b"X: y\r\n" * 1000 + b"\r\n" + GIF, errors.RemoteFailed),
    "a header of 100 kB": (OK + b"X: " + b"y" * 100_000 + b"\r\n\r\n" + GIF, errors.RemoteFailed),
    "a status of 20 digits": (b"HTTP/1.1 20000000000000000000 OK\r\n\r\n" + GIF,
                              errors.RemoteFailed),
    "HTTP/0.9": (GIF, errors.RemoteFailed),
    "HTTP/2": (b"HTTP/2 200\r\n\r\n" + GIF, errors.RemoteFailed),
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", errors.RemoteFailed),
}  # fmt: skip


@pytest.mark.parametrize(("answer", "error"), BAD.values(), ids=BAD)
def test_an_answer_that_makes_no_sense_is_refused(
    app: Application, answer: bytes, error: type[Exception]
):
    with sending(answer) as server, pytest.raises(error):
        fetched(f"{server.url}/a.gif")

    assert app.cached == []


# What is told


def refusal(url: str) -> tuple[str, str]:
    """The code and the message of what a stranger is told, without the host's name."""
    with pytest.raises(errors.UploadError) as told:
        fetched(url)
    host = url.partition("//")[2].partition("/")[0].partition(":")[0]
    return told.value.code, str(told.value).replace(host, "HOST")


def test_a_stranger_is_not_told_what_a_port_does(
    app: Application, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(remote, "STALL_S", 0.3)
    told = set()
    with caplog.at_level(logging.INFO, "gifster.uploads"):
        with socket.socket() as taken:  # nothing listens
            taken.bind(("127.0.0.1", 0))
            told.add(refusal(f"http://127.0.0.1:{taken.getsockname()[1]}/"))
        with socket.create_server(("127.0.0.1", 0), backlog=1) as silent:
            told.add(refusal(f"http://127.0.0.1:{silent.getsockname()[1]}/"))
        for answer in (b"", b"SSH-2.0-OpenSSH_9.2\r\n\n evil=1", b"HTTP/1.1 2"):
            with sending(answer) as server:
                told.add(refusal(server.url))
        with sending(b"HTTP/1.1 200 OK\r\n\r\n") as server:  # TLS is asked for
            told.add(refusal(server.url.replace("http", "https")))

    assert [code for code, _ in told] == ["remote_failed"], told
    # Whoever runs the server finds out, on one line each
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 6
    assert not any("\n" in line for line in lines)
    assert "refused" in lines[0]


def test_a_stranger_is_not_told_which_internal_names_there_are(
    application: Application, monkeypatch: pytest.MonkeyPatch
):
    real = socket.getaddrinfo
    inside = {"db.corp.test": "10.0.0.1", "www.corp.test": "127.0.0.1"}
    monkeypatch.setattr(
        remote.socket, "getaddrinfo", lambda host, *a, **k: real(inside.get(host, host), *a, **k)
    )

    hosts = ["db.corp.test", "www.corp.test", "nothing.invalid", "10.0.0.1", "[::1]"]
    told = {refusal(f"http://{host}/") for host in hosts}

    assert [code for code, _ in told] == ["remote_address_refused"], told
