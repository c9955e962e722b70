"""S3 servers other than Amazon's: they keep the bytes that they were sent, and an upload fails if a
server keeps the file in another size."""

import hashlib
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from gifster.uploads import S3Storage, StorageUnavailable
from gifster.uploads.storage.s3 import PART_BYTES
from gifster.uploads.storage.s3_client import SILENT_S, is_amazon
from gifster.uploads.testing import StorageContract, read
from tests import s3
from tests.uploads import plain_s3
from tests.uploads.plain_s3 import PlainS3

SMALL, LARGE = 1024, PART_BYTES + 1024


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PlainS3]:
    with plain_s3.running(tmp_path) as running:
        yield running


def file_of(size: int, folder: Path) -> Path:
    path = folder / "source"
    path.write_bytes(os.urandom(size))
    return path


@pytest.mark.parametrize("size", [0, SMALL, LARGE])
def test_a_server_that_knows_no_trailers_keeps_the_file(server: PlainS3, tmp_path: Path, size: int):
    source, storage = file_of(size, tmp_path), server.storage()

    storage.upload(source, "a/b.gif", "image/gif")

    assert server.files["/bucket/a/b.gif"] == (source.read_bytes(), "image/gif")
    assert read(storage, "a/b.gif") == source.read_bytes()
    if size == SMALL:  # the signature is over the content: a server that looks at it sees damage
        digest = hashlib.sha256(source.read_bytes()).hexdigest()
        assert [headers["x-amz-content-sha256"] for headers in server.headers] == [digest]
    for headers in server.headers:
        assert not [name for name in headers if "checksum" in name or "trailer" in name]


def test_a_server_that_refuses_trailers_gets_none(server: PlainS3, tmp_path: Path):
    server.refuses_trailers = True

    server.storage().upload(file_of(SMALL, tmp_path), "a.gif", "image/gif")

    assert list(server.files) == ["/bucket/a.gif"]


def test_a_server_that_the_environment_names_is_not_amazons(
    server: PlainS3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.url)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(server.ca_file))
    source = file_of(SMALL, tmp_path)

    server.storage(endpoint_url=None, ca_file=None).upload(source, "a.gif", "image/gif")

    assert server.files["/bucket/a.gif"][0] == source.read_bytes()


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_a_server_that_keeps_the_framing_fails_the_first_upload(
    server: PlainS3, tmp_path: Path, size: int
):
    storage = server.storage(checksums="when_supported")

    with pytest.raises(StorageUnavailable, match=r'aws-chunked.*checksums = "when_required"'):
        storage.upload(file_of(size, tmp_path), "a.gif", "image/gif")

    assert server.files == {}


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_a_server_that_cuts_files_fails_the_upload(server: PlainS3, tmp_path: Path, size: int):
    server.keeps = lambda body: body[:1000]

    with pytest.raises(StorageUnavailable, match=rf"sent {size:,} bytes of a\.gif and keeps \d"):
        server.storage().upload(file_of(size, tmp_path), "a.gif", "image/gif")

    assert server.files == {}


def test_a_server_that_forgets_a_file_fails_the_upload(server: PlainS3, tmp_path: Path):
    server.keeps = lambda _: None

    with pytest.raises(StorageUnavailable, match=r"sent 1,024 bytes of a\.gif and keeps 0"):
        server.storage().upload(file_of(SMALL, tmp_path), "a.gif", "image/gif")


def test_a_policy_may_allow_the_list_of_the_prefix_alone(server: PlainS3, tmp_path: Path):
    # Given a bucket that others use, too, as a policy with the condition `s3:prefix` allows
    server.lists = "ours/"
    server.storage(prefix="theirs/").upload(file_of(SMALL, tmp_path), "a.gif", "image/gif")
    storage = server.storage(prefix="ours/")
    storage.upload(file_of(SMALL, tmp_path), "b.gif", "image/gif")

    # I expect the sweep to be able to list the files, and to ask for the time by which they are old
    assert [key for key, _ in storage.walk()] == ["b.gif"]
    assert storage.now() == pytest.approx(time.time(), abs=60)
    with pytest.raises(StorageUnavailable, match="AccessDenied"):
        list(server.storage(prefix="theirs/").walk())


def test_a_server_with_an_unknown_authority_is_not_trusted(server: PlainS3, tmp_path: Path):
    with pytest.raises(StorageUnavailable, match=r"certificate verify failed.*set ca_file"):
        server.storage(ca_file=None).upload(file_of(SMALL, tmp_path), "a.gif", "image/gif")
    with pytest.raises(StorageUnavailable, match=r"none\.pem"):
        server.storage(ca_file=tmp_path / "none.pem").exists("a.gif")

    assert server.files == {}


def test_connections_to_a_silent_machine_are_given_up(
    server: PlainS3, monkeypatch: pytest.MonkeyPatch
):
    # Given a storage, and a note of what its connections ask of TCP
    asked: set[tuple[int, int]] = set()
    connect = socket.socket.connect

    def noted(self: socket.socket, address: object) -> None:
        for name in ("TCP_KEEPIDLE", "TCP_USER_TIMEOUT"):
            option = getattr(socket, name)
            asked.add((option, self.getsockopt(socket.IPPROTO_TCP, option)))
        asked.add((socket.SO_KEEPALIVE, self.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)))
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", noted)

    server.storage().exists("a.gif")

    assert asked == {
        (socket.TCP_KEEPIDLE, SILENT_S // 2),
        (socket.TCP_USER_TIMEOUT, SILENT_S * 1000),
        (socket.SO_KEEPALIVE, 1),
    }


def test_what_the_garbage_collector_undoes_while_the_client_is_made_may_need_it():
    # Given a storage whose client is being made when a rolled back save is undone
    storage = S3Storage("bucket")
    entered: list[S3Storage] = []

    def client() -> object:
        if not entered:
            entered.append(storage)
            storage._connected()
        return object()

    storage._connection = SimpleNamespace(client=client)

    # I expect nobody to wait forever
    thread = threading.Thread(target=storage._connected, daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()


def test_a_direct_upload_keeps_the_file(server: PlainS3):
    allowed = server.storage().presign("a.gif", 7, "image/gif", expires_s=60)
    trusting = httpx.Client(verify=ssl.create_default_context(cafile=server.ca_file))

    with trusting as client:
        client.put(allowed.url, content=b"content", headers=allowed.headers)

    assert server.files["/bucket/a.gif"] == (b"content", "image/gif")


@pytest.mark.parametrize(
    ("endpoint_url", "options", "url"),
    [
        ("https://s3.example.org", {}, "https://s3.example.org/bucket/a.gif"),
        ("https://s3.example.org", {"addressing": "virtual"}, "https://bucket.s3.example.org/a.gif"),
        (None, {"addressing": "virtual"}, "https://bucket.s3.eu-central-1.amazonaws.com/a.gif"),
        (None, {}, "https://bucket.s3.eu-central-1.amazonaws.com/a.gif"),
        (None, {"addressing": "path"}, "https://s3.eu-central-1.amazonaws.com/bucket/a.gif"),
    ],
)  # fmt: skip
def test_the_place_of_the_bucket_in_an_address(
    endpoint_url: str | None, options: dict[str, str], url: str
):
    storage = S3Storage("bucket", endpoint_url=endpoint_url, region="eu-central-1",
                        access_key_id="k", secret_access_key="s", **options)  # fmt: skip

    assert storage.url("a.gif").partition("?")[0] == url


@pytest.mark.parametrize(
    ("endpoint_url", "options", "expected"),
    [
        (None, {}, "when_supported"),
        (None, {"checksums": "when_required"}, "when_required"),
        ("https://s3.eu-central-1.amazonaws.com", {}, "when_supported"),
        ("https://s3.example.org", {}, "when_required"),
        ("https://s3.example.org", {"checksums": "when_supported"}, "when_supported"),
    ],
)
def test_which_checksums_are_sent(
    endpoint_url: str | None,
    options: dict[str, str],
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.delenv("AWS_REQUEST_CHECKSUM_CALCULATION", raising=False)
    storage = S3Storage("bucket", endpoint_url=endpoint_url, region="eu-central-1",
                        access_key_id="k", secret_access_key="s", **options)  # fmt: skip

    config = storage._connected().meta.config
    assert config.request_checksum_calculation == expected
    assert config.response_checksum_validation == expected


@pytest.mark.parametrize(
    ("endpoint_url", "expected"),
    [
        (None, True),
        ("", True),
        ("https://s3.amazonaws.com", True),
        ("https://s3.eu-central-1.amazonaws.com", True),
        ("https://s3-eu-west-1.amazonaws.com", True),
        ("https://s3.dualstack.us-west-2.amazonaws.com/", True),
        ("https://s3-fips.dualstack.us-gov-west-1.amazonaws.com", True),
        ("https://s3-accelerate.amazonaws.com", True),
        ("https://s3.cn-north-1.amazonaws.com.cn", True),
        ("https://S3.EUSC-DE-EAST-1.amazonaws.eu:443", True),
        ("https://bucket.vpce-1a2b3c4d-5e6f.s3.us-east-1.vpce.amazonaws.com", True),
        ("https://minio-1234.eu-west-1.elb.amazonaws.com", False),
        ("https://s3-minio-1234.eu-west-1.elb.amazonaws.com", False),
        ("http://ec2-203-0-113-25.compute-1.amazonaws.com:9000", False),
        ("https://s3.amazonaws.com.example.org", False),
        ("https://s3.notamazonaws.com", False),
        ("https://storage.googleapis.com", False),
        ("https://s3.us-west-004.backblazeb2.com", False),
        ("https://account.r2.cloudflarestorage.com", False),
        ("http://127.0.0.1:9000", False),
        ("https://[::1]:9000", False),
    ],
)
def test_which_endpoints_are_amazons(endpoint_url: str | None, expected: bool):
    assert is_amazon(endpoint_url) is expected


@pytest.fixture(scope="module")
def rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[s3.S3Server]:
    with s3.running(tmp_path_factory.mktemp("tls"), tls=True) as server:
        yield server


class TestS3StorageOverTls(StorageContract):
    @pytest.fixture
    def storage(self, rclone: s3.S3Server, tmp_path: Path) -> S3Storage:
        name = "".join(c for c in tmp_path.name if c.isalnum()).lower()
        return rclone.storage(f"tls{name}"[:60])

    @pytest.mark.parametrize("size", [0, SMALL, LARGE])
    def test_the_server_keeps_the_file(self, storage: S3Storage, tmp_path: Path, size: int):
        source = file_of(size, tmp_path)

        storage.upload(source, "a.gif", "image/gif")

        assert read(storage, "a.gif") == source.read_bytes()
