"""What counts as missing in a bucket: a file of which S3 itself says so, and no other one."""

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from gifster.uploads import S3Storage, StorageUnavailable
from gifster.uploads.testing import keep
from tests import s3


def storage_at(url: str, bucket: str) -> S3Storage:
    return S3Storage(
        bucket,
        endpoint_url=url,
        region="us-east-1",
        access_key_id=s3.KEY,
        secret_access_key=s3.SECRET,
        attempts=1,
    )


class NoRoute(BaseHTTPRequestHandler):
    """A proxy that knows no server for the address at this moment, such as while that restarts."""

    protocol_version = "HTTP/1.1"
    body, content_type = b"404 page not found\n", "text/plain"

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(404)
        self.send_header("Content-Type", self.content_type)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(self.body)

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET

    def log_message(self, *arguments: object) -> None:
        pass


class NoRouteInHtml(NoRoute):
    body, content_type = b"<html><body><h1>404 Not Found</h1></body></html>", "text/html"


class NoRouteAtFirst(NoRoute):
    """One that finds the server when it is asked a second time."""

    upstream, left = 0, 0

    def do_GET(self) -> None:
        if type(self).left:
            type(self).left -= 1
            super().do_GET()
            return
        server = http.client.HTTPConnection("127.0.0.1", self.upstream)
        server.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            server.putheader(name, value)
        server.endheaders()
        answer = server.getresponse()
        content = answer.read()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.getheader("Content-Type") or "")
        self.send_header("Content-Length", answer.getheader("Content-Length") or str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        server.close()

    do_HEAD = do_DELETE = do_GET


class ListsNothing(NoRoute):
    """A server that has no such file, and does not list its files, or cannot now."""

    status, code = 403, "AccessDenied"

    def do_GET(self) -> None:
        body = f"<Error><Code>{self.code}</Code></Error>".encode()
        self.send_response(self.status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """The address of a proxy, until the block ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(params=[NoRoute, NoRouteInHtml])
def behind_a_proxy(request: pytest.FixtureRequest) -> Iterator[S3Storage]:
    with serving(request.param) as url:
        yield storage_at(url, "bucket")


def test_a_proxy_without_its_server_has_lost_no_file(behind_a_proxy: S3Storage):
    with pytest.raises(StorageUnavailable):
        behind_a_proxy.open("a.gif")
    with pytest.raises(StorageUnavailable):
        behind_a_proxy.exists("a.gif")
    with pytest.raises(StorageUnavailable):
        behind_a_proxy.delete("a.gif")


def test_a_file_is_not_lost_because_one_request_met_no_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "s3").mkdir()
    with s3.running(tmp_path / "s3") as server, serving(NoRouteAtFirst) as url:
        keep(server.storage("there"), "a.gif", b"a")
        monkeypatch.setattr(NoRouteAtFirst, "upstream", server.port)
        there = storage_at(url, "there")

        for look in (there.open, there.exists, there.delete):
            monkeypatch.setattr(NoRouteAtFirst, "left", 1)
            with pytest.raises(StorageUnavailable):
                look("a.gif")
            assert NoRouteAtFirst.left == 0
        assert there.exists("a.gif")
        there.delete("a.gif")
        assert not there.exists("a.gif")


@pytest.mark.parametrize(
    ("status", "code", "tells"),
    [
        (403, "AccessDenied", True),
        (501, "NotImplemented", True),
        (500, "InternalError", False),
        (503, "SlowDown", False),
    ],
)
def test_a_file_counts_as_missing_also_where_nobody_may_list_but_not_while_nobody_can(
    monkeypatch: pytest.MonkeyPatch, status: int, code: str, tells: bool
):
    monkeypatch.setattr(ListsNothing, "status", status)
    monkeypatch.setattr(ListsNothing, "code", code)
    with serving(ListsNothing) as url:
        there = storage_at(url, "bucket")
        if tells:
            assert not there.exists("a.gif")
        else:
            with pytest.raises(StorageUnavailable):
                there.exists("a.gif")


def test_a_bucket_that_is_not_there_has_lost_no_file(tmp_path: Path):
    (tmp_path / "s3").mkdir()
    with s3.running(tmp_path / "s3") as server:
        there = server.storage("there")
        keep(there, "a.gif", b"a")
        gone = storage_at(server.url, "gone")

        assert (there.exists("a.gif"), there.exists("b.gif")) == (True, False)
        with pytest.raises(FileNotFoundError):
            there.open("b.gif")
        for look in (gone.open, gone.exists):
            with pytest.raises(StorageUnavailable, match="gone"):
                look("a.gif")
