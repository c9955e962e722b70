"""A real S3 server, which checks signatures: rclone's, over a folder."""

import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

from gifster.uploads import S3Storage
from tests.stack import eventually, free_port

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

    def __init__(self, root: Path, port: int) -> None:
        self.root, self.port = root, port
        self.url = f"http://127.0.0.1:{port}"

    def storage(self, bucket: str = BUCKET, **options: object) -> S3Storage:
        """A storage in a bucket, which is made if it is not there."""
        made = S3Storage(
            bucket,
            endpoint_url=self.url,
            region="us-east-1",
            access_key_id=KEY,
            secret_access_key=SECRET,
            **options,
        )
        # Not as a folder: the server would not notice for minutes.
        client = made._connected()
        with suppress(client.exceptions.BucketAlreadyExists):
            client.create_bucket(Bucket=bucket)
        return made

    def settings(self, section: str) -> dict[str, str]:
        """Settings that have Gifster keep its cache, or its store, in a bucket of its own."""
        bucket = f"{section}{secrets.token_hex(6)}"
        self.storage(bucket)
        return settings(section, bucket, self.url)

    def folder(self, bucket: str = BUCKET) -> Path:
        return self.root / bucket


@contextmanager
def running(root: Path, port: int | None = None) -> Iterator[S3Server]:
    """A server over the folder, until the block ends."""
    port = port or free_port()
    command = [RCLONE, "serve", "s3", "--addr", f"127.0.0.1:{port}", "--auth-key",
               f"{KEY},{SECRET}", "--etag-hash", "MD5",
               "--config", root.with_name("rclone.conf"), root]  # fmt: skip
    log = root.with_name(f"{root.name}.log").open("ab")
    process = subprocess.Popen([str(part) for part in command], stdout=log, stderr=log)
    try:
        server = S3Server(root, port)
        eventually(lambda: _answers(server.url))
        yield server
    finally:
        process.kill()
        process.wait()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code < 500
    except httpx.TransportError:
        return False
