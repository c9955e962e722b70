"""What counts as missing in a bucket: a file of which S3 itself says so, and no other one."""

import threading
from collections.abc import Iterator
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


@pytest.fixture(params=[NoRoute, NoRouteInHtml])
def behind_a_proxy(request: pytest.FixtureRequest) -> Iterator[S3Storage]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), request.param)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield storage_at(f"http://127.0.0.1:{server.server_port}", "bucket")
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_proxy_without_its_server_has_lost_no_file(behind_a_proxy: S3Storage):
    with pytest.raises(StorageUnavailable):
        behind_a_proxy.open("a.gif")
    with pytest.raises(StorageUnavailable):
        behind_a_proxy.exists("a.gif")
    with pytest.raises(StorageUnavailable):
        behind_a_proxy.delete("a.gif")


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
