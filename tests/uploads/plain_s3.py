"""A server with as much of S3 as Gifster needs, over TLS. It keeps every byte of a body. As it does
not know trailers, `aws-chunked` framing stays in the file.

Like any server it removes HTTP's own framing (RFC 9112, 7.1). It does not check signatures.
"""

import hashlib
import re
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import trustme

from gifster.uploads import S3Storage
from tests import s3


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "PlainS3"

    def do_PUT(self) -> None:
        body, query = self._body(), self._query()
        self.server.headers.append({name.lower(): value for name, value in self.headers.items()})
        if self.server.refuses_trailers and "X-Amz-Trailer" in self.headers:
            self._answer(501, b"<Error><Code>NotImplemented</Code></Error>")
            return
        kept = self.server.keeps(body)
        if kept is None:
            self._answer(200)
            return
        if "uploadId" in query:
            self.server.parts[query["uploadId"], int(query["partNumber"])] = kept
        else:
            self.server.files[self._path()] = (kept, self.headers.get("Content-Type", ""))
        self._answer(200, ETag=f'"{hashlib.md5(kept).hexdigest()}"')

    def do_POST(self) -> None:
        body, query, path = self._body(), self._query(), self._path()
        if "uploads" in query:
            upload = f"upload{len(self.server.uploads)}"
            self.server.uploads[upload] = self.headers.get("Content-Type", "")
            self._answer(200, f"<Upload><UploadId>{upload}</UploadId></Upload>".encode())
            return
        upload = query["uploadId"]
        numbers = [int(n) for n in re.findall(rb"<PartNumber>(\d+)<", body)]
        joined = b"".join(self.server.parts.pop((upload, number)) for number in numbers)
        self.server.files[path] = (joined, self.server.uploads[upload])
        self._answer(200, b"<Completed><ETag>none-1</ETag></Completed>")

    def do_GET(self) -> None:
        if "list-type" in self._query():
            self._list(self._query().get("prefix", ""))
            return
        if self._path() not in self.server.files:
            self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
            return
        content, content_type = self.server.files[self._path()]
        content_type = self.server.serves_as or content_type
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if wanted:
            content = content[int(wanted[1]) : int(wanted[2]) + 1]
        self._answer(206 if wanted else 200, content, **{"Content-Type": content_type})

    do_HEAD = do_GET

    def _list(self, prefix: str) -> None:
        if not prefix.startswith(self.server.lists):
            self._answer(403, b"<Error><Code>AccessDenied</Code></Error>")
            return
        keys = [path.removeprefix(f"/{s3.BUCKET}/") for path in self.server.files]
        found = "".join(
            f"<Contents><Key>{key}</Key><LastModified>2026-01-02T03:04:05Z</LastModified></Contents>"
            for key in sorted(keys)
            if key.startswith(prefix)
        )
        self._answer(200, f"<ListBucketResult>{found}</ListBucketResult>".encode())

    def do_DELETE(self) -> None:
        self.server.files.pop(self._path(), None)
        self._answer(204)

    def log_message(self, *_: object) -> None:
        pass

    def _path(self) -> str:
        return unquote(urlsplit(self.path).path)

    def _query(self) -> dict[str, str]:
        found = parse_qs(urlsplit(self.path).query, keep_blank_values=True)
        return {name: values[0] for name, values in found.items()}

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return body

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


class PlainS3(ThreadingHTTPServer):
    """A running server. `files` has content and type by `/bucket/key`, `headers` those of every
    PUT."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        authority = trustme.CA()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        self.socket = context.wrap_socket(
            self.socket, server_side=True, do_handshake_on_connect=False
        )
        self.ca_file = folder / "ca.pem"
        authority.cert_pem.write_to_path(str(self.ca_file))
        self.url = f"https://127.0.0.1:{self.server_port}"
        self.files: dict[str, tuple[bytes, str]] = {}
        self.parts: dict[tuple[str, int], bytes] = {}
        self.uploads: dict[str, str] = {}
        self.headers: list[dict[str, str]] = []
        self.refuses_trailers = False
        self.serves_as = ""
        #: The beginning of the keys that the policy of the bucket allows to list.
        self.lists = ""
        #: Returns the bytes to keep of a body. A server may cut or change it, or forget it (None).
        self.keeps: Callable[[bytes], bytes | None] = lambda body: body

    def storage(self, **options: object) -> S3Storage:
        given = {
            "endpoint_url": self.url,
            "ca_file": self.ca_file,
            "region": "us-east-1",
            "access_key_id": s3.KEY,
            "secret_access_key": s3.SECRET,
            "attempts": 1,
        }
        return S3Storage(s3.BUCKET, **given | options)

    def settings(self, section: str) -> dict[str, str]:
        """Settings that have Gifster keep its cache, or its store, here."""
        ca_file = {f"GIFSTER_{section}__CA_FILE".upper(): str(self.ca_file)}
        return s3.settings(section, s3.BUCKET, self.url) | ca_file

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that does not trust us closes the connection: that is no error here."""


@contextmanager
def running(folder: Path) -> Iterator[PlainS3]:
    """A server, until the block ends."""
    server = PlainS3(folder)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
