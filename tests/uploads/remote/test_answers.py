"""Odd answers of servers: which files are accepted, and what an error tells a stranger."""

import gzip
import logging
import socket
import zlib

import pytest

from gifster.uploads import errors
from gifster.uploads.remote import downloader as remote
from tests.logs import said_by
from tests.uploads.framework import Application
from tests.uploads.remote.servers import GIF, LENGTH, OK, fetched, sending

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
def test_a_file_in_an_odd_answer_is_accepted(app: Application, answer: bytes):
    with sending(answer) as server:
        assert fetched(f"{server.url}/a.gif").avatar.assigned.bytes == len(GIF)


def bomb() -> bytes:
    """An answer of 200 kB that becomes 200 MB: the same compressed zeros again and again."""
    packer = zlib.compressobj(9, wbits=31)  # of gzip
    start = packer.compress(GIF) + packer.flush(zlib.Z_FULL_FLUSH)
    zeros = packer.compress(bytes(1_000_000)) + packer.flush(zlib.Z_FULL_FLUSH)
    return coded(start + zeros * 200)


BAD = {
    "brotli": (coded(GIF, b"br"), errors.RemoteFailed),
    "two codings": (coded(gzip.compress(ZIPPED), b"gzip, gzip"), errors.RemoteFailed),
    "an unknown coding": (coded(GIF, b"a\xe4" * 500), errors.RemoteFailed),
    "no gzip at all": (coded(GIF), errors.RemoteFailed),
    "gzip cut in the middle": (coded(ZIPPED[:-20]), errors.RemoteFailed),
    "gzip with a wrong sum": (coded(ZIPPED[:-8] + bytes(8)), errors.RemoteFailed),
    "a bomb": (bomb(), errors.TooLarge),
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
def test_a_bad_answer_is_refused(app: Application, answer: bytes, error: type[Exception]):
    with sending(answer) as server, pytest.raises(error):
        fetched(f"{server.url}/a.gif")

    assert app.cached == []


# What a stranger learns from an error


def refusal(url: str) -> tuple[str, str]:
    """The code and the message of the error, without the host's name."""
    with pytest.raises(errors.UploadError) as told:
        fetched(url)
    host = url.partition("//")[2].partition("/")[0].partition(":")[0]
    return told.value.code, str(told.value).replace(host, "HOST")


def test_an_error_does_not_tell_what_a_port_does(
    app: Application, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(remote.Downloader, "stall_s", 0.3)
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
    # I expect one line in the log for each, with the reason
    lines = [record.getMessage() for record in said_by("gifster.uploads", caplog)]
    assert len(lines) == 6
    assert not any("\n" in line for line in lines)
    assert "refused" in lines[0]


def test_an_error_does_not_tell_which_internal_names_exist(
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
