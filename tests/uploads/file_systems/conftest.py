"""What these tests share."""

from collections.abc import Iterator

import pytest

from tests.uploads.file_systems.sftp import SftpServer


@pytest.fixture(scope="session")
def sftp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SftpServer]:
    root = tmp_path_factory.mktemp("sftp") / "files"
    root.mkdir()
    server = SftpServer(root)
    server.start()
    yield server
    server.stop()
