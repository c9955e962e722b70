"""A PgBouncer for tests, where Debian's `pgbouncer` is installed."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from tests.machine import eventually, free_port

#: Debian has it where only root looks.
PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
CONFIGURATION = """
[databases]
* = host={host} user={user}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
default_pool_size = {size}
"""


class PgBouncer:
    """A pooler in front of a server, with a configuration as short as people write it.

    Parameters:
      folder: for its files.
      url: of a database of the server, over a socket.
      mode: its `pool_mode`.
      size: how many connections of the server it has.
    """

    def __init__(self, folder: Path, url: str, mode: str, size: int) -> None:
        its, self._port, self._folder = conninfo_to_dict(url), free_port(), folder
        self.url = f"postgresql://{its['user']}@127.0.0.1:{self._port}/{its['dbname']}"
        #: The user of the server: nobody else can reach its socket, and PgBouncer refuses to be
        #: root.
        self._owner = os.stat(str(its["host"])).st_uid
        configuration = folder / "pgbouncer.ini"
        configuration.write_text(
            CONFIGURATION.format(
                host=its["host"], user=its["user"], port=self._port, mode=mode, size=size
            )
        )
        configuration.chmod(0o644)  # an earlier test may have set the umask, as Gifster does
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = [str(PGBOUNCER), str(self._folder / "pgbouncer.ini")]
        if os.getuid() != self._owner:
            command = ["setpriv", f"--reuid={self._owner}", "--clear-groups", *command]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            eventually(self._answers)
        except AssertionError:
            raise AssertionError((self._folder / "log").read_text()) from None

    def kill(self) -> None:
        """Kill it, with all connections."""
        self._process.kill()
        self._process.wait()

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url, connect_timeout=60).close()
        except psycopg.OperationalError:
            return False
        return True


@contextmanager
def pgbouncer(url: str, *, mode: str = "transaction", size: int = 4) -> Iterator[PgBouncer]:
    """A PgBouncer, until the block ends. Skips the test where there is none. The parameters are
    those of `PgBouncer`."""
    if PGBOUNCER is None:
        pytest.skip("no PgBouncer is installed (on Debian: apt install pgbouncer)")
    # Another user has to read it, so not in pytest's own folder.
    root = os.environ.get("PYTEST_DEBUG_TEMPROOT", "/tmp")
    with tempfile.TemporaryDirectory(prefix="gifster-pgbouncer-", dir=root) as folder:
        Path(folder).chmod(0o755)
        pooler = PgBouncer(Path(folder), url, mode, size)
        try:
            yield pooler
        finally:
            pooler.kill()
