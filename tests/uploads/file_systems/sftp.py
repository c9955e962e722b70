"""An SFTP server for the tests."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gifster.uploads import FsspecStorage, StorageUnavailable
from tests.machine import eventually, free_port, stand_still
from tests.s3 import RCLONE


class SftpServer:
    """A real SFTP server: rclone's, over a folder."""

    def __init__(self, root: Path) -> None:
        self.root, self.port = root, free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [RCLONE, "serve", "sftp", self.root, "--addr", f"127.0.0.1:{self.port}",
                   "--user", "ann", "--pass", "secret",
                   "--config", self.root.with_name("rclone.conf")]  # fmt: skip
        log = self.root.with_name("sftp.log").open("ab")
        self._process = subprocess.Popen([str(part) for part in command], stdout=log, stderr=log)
        eventually(self._answers)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """A block in which it says nothing (SIGSTOP)."""
        assert self._process is not None
        stand_still(self._process.pid)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def _answers(self) -> bool:
        try:
            return not self.storage("/").exists("none")
        except StorageUnavailable:
            return False

    def storage(self, folder: str, **options: Any) -> FsspecStorage:
        return FsspecStorage(
            f"sftp://ann:secret@127.0.0.1:{self.port}{folder}", base_url="/files", **options
        )
