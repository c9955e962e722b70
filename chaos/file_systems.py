"""Hold `FsspecStorage` against servers that the tests do without, as their packages are large.

    pip install 'gifster[fsspec]' webdav4 wsgidav cheroot pyftpdlib gcsfs gcp-storage-emulator adlfs
    npm install azurite
    SERVER=webdav-wsgidav python -m pytest -n 0 chaos/file_systems.py

docs/storages.md says what came of it. rclone is one of the development tools.
"""

import os
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gifster.uploads import FsspecStorage, StorageUnavailable
from gifster.uploads.testing import StorageContract, keep, read
from tests.machine import eventually, free_port
from tests.s3 import RCLONE

KIND = os.environ.get("SERVER", "webdav-rclone")
#: The name and the key that azurite's documentation gives to everybody.
AZURITE = (
    "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey=Eby8vdM02xNOcqFlqUwJPL"
    "lmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==;"
    "BlobEndpoint=http://127.0.0.1:{port}/devstoreaccount1;"
)
PYFTPDLIB = """
from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.servers import ThreadedFTPServer
FTPHandler.authorizer = DummyAuthorizer()
FTPHandler.authorizer.add_user("ann", "secret", {root!r}, perm="elradfmwMT")
ThreadedFTPServer(("127.0.0.1", {port}), FTPHandler).serve_forever()
"""
WSGIDAV = """
from cheroot import wsgi
from wsgidav.wsgidav_app import WsgiDAVApp
users = {{"*": {{"ann": {{"password": "secret"}}}}}}
app = WsgiDAVApp({{"provider_mapping": {{"/": {root!r}}}, "simple_dc": {{"user_mapping": users}}}})
wsgi.Server(("127.0.0.1", {port}), app).start()
"""
GCS = """
from gcp_storage_emulator.server import create_server
create_server("127.0.0.1", {port}, in_memory=True, default_bucket="bucket").run()
"""


def command(root: Path, port: int) -> list[str]:
    """What starts the server."""
    address = f"127.0.0.1:{port}"
    programs = {"ftp-pyftpdlib": PYFTPDLIB, "webdav-wsgidav": WSGIDAV, "gcs": GCS}
    if KIND in programs:
        return [sys.executable, "-c", programs[KIND].format(root=str(root), port=port)]
    if KIND == "azure":
        azurite = os.environ.get("AZURITE", "node_modules/.bin/azurite-blob")
        return [azurite, "--blobHost", "127.0.0.1", "--blobPort", str(port), "--silent",
                "--skipApiVersionCheck", "--inMemoryPersistence", "--disableTelemetry"]  # fmt: skip
    protocol = KIND.removesuffix("-rclone")
    return [str(RCLONE), "serve", protocol, str(root), "--addr", address,
            "--user", "ann", "--pass", "secret"]  # fmt: skip


def storage_at(port: int, folder: str) -> FsspecStorage:
    address = f"127.0.0.1:{port}"
    options: dict[str, Any] = {}
    match KIND.partition("-")[0]:
        case "webdav":
            url = f"webdav://{folder}"
            options = {"base_url": f"http://{address}", "auth": ("ann", "secret")}
        case "gcs":
            url = f"gs://bucket/{folder}"
            options = {"endpoint_url": f"http://{address}", "token": "anon", "project": "p"}
        case "azure":
            url, options = f"abfs://bucket/{folder}", {"connection_string": azurite(port)}
        case protocol:
            url = f"{protocol}://ann:secret@{address}/{folder}"
    base_url = "" if KIND == "azure" else "/files"
    return FsspecStorage(url, options=options, base_url=base_url)


def azurite(port: int) -> str:
    return AZURITE.format(port=port)


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of the running server, which has an empty bucket."""
    # gcsfs would speak gRPC to Google, whatever the endpoint.
    os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"
    root, port = tmp_path_factory.mktemp("files"), free_port()
    with (tmp_path_factory.mktemp("log") / "log").open("ab") as log:
        process = subprocess.Popen(command(root, port), stdout=log, stderr=log)
    eventually(lambda: _listens(port))
    if KIND == "azure":
        from azure.storage.blob import BlobServiceClient  # type: ignore[import-not-found]

        BlobServiceClient.from_connection_string(azurite(port)).create_container("bucket")
    yield port
    process.kill()
    process.wait()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


class TestServer(StorageContract):
    @pytest.fixture
    def storage(self, port: int) -> FsspecStorage:
        return storage_at(port, f"t{secrets.token_hex(6)}")

    def test_parts_of_two_open_files_can_be_read(self, storage: FsspecStorage) -> None:
        keep(storage, "a.gif", bytes(1_000_000) + b"the end")

        with storage.open("a.gif") as first, storage.open("a.gif") as second:
            assert first.read(600_000) == second.read(600_000) == bytes(600_000)
            first.seek(1_000_000)
            assert first.read() == b"the end"
            first.seek(999_998)
            assert first.read(4) == b"\0\0th"
            assert second.read() == bytes(400_000) + b"the end"

    def test_many_write_the_same_file(self, storage: FsspecStorage) -> None:
        content = bytes(range(256)) * 1000

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: keep(storage, "a/b/c.gif", content), range(12)))

        assert read(storage, "a/b/c.gif") == content
        assert [key for key, _ in storage.walk()] == ["a/b/c.gif"]
        assert all(abs(at - time.time()) < 120 for _, at in storage.walk())
        assert list(storage.half_written(time.time() + 60, False)) == []

    def test_no_reader_gets_a_part_for_the_whole(
        self, storage: FsspecStorage, tmp_path: Path
    ) -> None:
        content = secrets.token_bytes(3_000_000)
        (tmp_path / "source").write_bytes(content)
        storage.upload(tmp_path / "source", "a/b.gif", "image/gif")
        stop, outcomes = threading.Event(), []

        def reads() -> None:
            while not stop.is_set():
                try:
                    outcomes.append("whole" if read(storage, "a/b.gif") == content else "cut")
                except (FileNotFoundError, StorageUnavailable) as error:
                    outcomes.append(type(error).__name__)

        with ThreadPoolExecutor(2) as pool:
            for _ in range(2):
                pool.submit(reads)
            try:
                for _ in range(20):
                    storage.upload(tmp_path / "source", "a/b.gif", "image/gif")
            finally:
                stop.set()

        print({outcome: outcomes.count(outcome) for outcome in sorted(set(outcomes))})
        assert "whole" in outcomes
        assert "cut" not in outcomes

    def test_a_writer_that_dies_leaves_no_file(
        self, port: int, storage: FsspecStorage, tmp_path: Path
    ) -> None:
        (tmp_path / "source").write_bytes(secrets.token_bytes(60_000_000))
        folder = f"t{secrets.token_hex(6)}"
        source = str(tmp_path / "source")
        code = (
            "from pathlib import Path; from chaos.file_systems import storage_at; "
            "print(flush=True); "
            f"storage_at({port}, {folder!r}).upload(Path({source!r}), 'a.gif', 'image/gif')"
        )
        writer = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(0.5)
        writer.kill()

        storage = storage_at(port, folder)
        writer.wait()
        if storage.exists("a.gif"):
            assert len(read(storage, "a.gif")) == 60_000_000
        else:
            assert list(storage.walk()) == []
        list(storage.half_written(time.time() + 60, True))
        assert list(storage.half_written(time.time() + 60, True)) == []
