"""A real S3 server, which checks signatures: rclone's, over a folder."""

import secrets
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import trustme

from gifster.uploads import S3Storage
from tests.machine import eventually, free_port

RCLONE = Path(sys.executable).parent / "rclone"
KEY, SECRET = "test-key", "test-secret"
BUCKET = "bucket"


def settings(section: str, bucket: str, url: str) -> dict[str, str]:
    """Settings that have Gifster keep its cache, or its store, in a bucket."""
    values = {"kind": "s3", "bucket": bucket, "endpoint_url": url, "region": "us-east-1",
              "access_key_id": KEY, "secret_access_key": SECRET}  # fmt: skip
    return {f"GIFSTER_{section}__{key}".upper(): value for key, value in values.items()}


class S3Server:
    """A running server. What lies in `folder` is what it keeps, key by key."""

    def __init__(self, root: Path, port: int, ca_file: Path | None = None) -> None:
        self.root, self.port, self.ca_file = root, port, ca_file
        self.url = f"{'https' if ca_file else 'http'}://127.0.0.1:{port}"
        self._client: Any = None

    def storage(self, bucket: str = BUCKET, **options: object) -> S3Storage:
        """A storage in a bucket, which is made if it is not there."""
        made = self._storage(bucket, **options)
        # Making a client takes longer than most tests.
        if not options.keys() & {"checksums", "addressing", "attempts", "timeout_s"}:
            made._client = self._client = self._client or made._connected()
        # Not as a folder: the server would not notice for minutes.
        client = made._connected()
        with suppress(client.exceptions.BucketAlreadyExists):
            client.create_bucket(Bucket=bucket)
        return made

    def connected(self) -> Any:
        """A client of boto3 that has opened no connection yet."""
        return self._storage(BUCKET)._connected()

    def _storage(self, bucket: str, **options: object) -> S3Storage:
        return S3Storage(
            bucket,
            endpoint_url=self.url,
            ca_file=self.ca_file,
            region="us-east-1",
            access_key_id=KEY,
            secret_access_key=SECRET,
            **options,
        )

    def settings(self, section: str) -> dict[str, str]:
        """Settings that have Gifster keep its cache, or its store, in a bucket of its own."""
        bucket = f"{section}{secrets.token_hex(6)}"
        self.storage(bucket)
        return settings(section, bucket, self.url)

    def folder(self, bucket: str = BUCKET) -> Path:
        return self.root / bucket


@contextmanager
def running(root: Path, port: int | None = None, *, tls: bool = False) -> Iterator[S3Server]:
    """A server over the folder, until the block ends.

    Parameters:
      tls: whether it speaks TLS, with a certificate of an authority of its own.
    """
    port = port or free_port()
    command = [RCLONE, "serve", "s3", "--addr", f"127.0.0.1:{port}", "--auth-key",
               f"{KEY},{SECRET}", "--etag-hash", "MD5",
               "--config", root.with_name("rclone.conf"), root]  # fmt: skip
    ca_file = root.with_name(f"{root.name}.ca.pem") if tls else None
    if ca_file:
        command += _certified(root, ca_file)
    log = root.with_name(f"{root.name}.log").open("ab")
    process = subprocess.Popen([str(part) for part in command], stdout=log, stderr=log)
    try:
        server = S3Server(root, port, ca_file)
        eventually(lambda: _answers(server))
        yield server
    finally:
        process.kill()
        process.wait()


def _certified(root: Path, ca_file: Path) -> list[str]:
    """The options for a certificate; the one of its authority goes into `ca_file`."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(ca_file))
    issued = authority.issue_cert("127.0.0.1")
    cert, key = root.with_name(f"{root.name}.cert.pem"), root.with_name(f"{root.name}.key.pem")
    issued.cert_chain_pems[0].write_to_path(str(cert))
    issued.private_key_pem.write_to_path(str(key))
    return ["--cert", str(cert), "--key", str(key)]


def _answers(server: S3Server) -> bool:
    trusted = ssl.create_default_context(cafile=server.ca_file) if server.ca_file else True
    try:
        return httpx.get(server.url, verify=trusted).status_code < 500
    except httpx.TransportError:
        return False
