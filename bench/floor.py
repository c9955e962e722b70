"""The least that a server must do to accept an upload. `bench.accepting` compares Gifster with it.

Granian and an ASGI function. The body goes to a file in pieces, and is hashed on the way; then
fsync, rename, fsync of the folder, and two rows in one transaction that is on the disk when it
returns. It reads no form, knows no user, checks nothing, and sends no job.

    python -m bench.floor PORT FOLDER DATABASE_URL LOOP

serves until it is killed. `DATABASE_URL` is `sqlite:///…` or `postgresql://…`; `LOOP` is the event
loop, `uvloop` (Gifster's) or `asyncio`.
"""

import asyncio
import hashlib
import os
import secrets
import sqlite3
import sys
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

Message = dict[str, Any]
TABLES = (
    "CREATE TABLE IF NOT EXISTS floor_file (id TEXT PRIMARY KEY, bytes INTEGER, sha256 TEXT)",
    "CREATE TABLE IF NOT EXISTS floor_job (id TEXT PRIMARY KEY, arguments TEXT)",
)
FILE = "INSERT INTO floor_file (id, bytes, sha256) VALUES ({0}, {0}, {0})"
JOB = "INSERT INTO floor_job (id, arguments) VALUES ({0}, {0})"


class Rows:
    """Writes the two rows, on a connection of each thread."""

    def __init__(self, url: str) -> None:
        self._url, self._local = url, threading.local()
        self._is_sqlite = url.startswith("sqlite:///")
        self._mark = "?" if self._is_sqlite else "%s"

    def _connection(self) -> Any:
        if not hasattr(self._local, "connection"):
            self._local.connection = self._connect()
        return self._local.connection

    def _connect(self) -> Any:
        if not self._is_sqlite:
            import psycopg

            return psycopg.connect(self._url, autocommit=True)
        path = self._url.removeprefix("sqlite:///")
        connection = sqlite3.connect(path, timeout=15, isolation_level=None)
        connection.execute("PRAGMA journal_mode=wal")
        connection.execute("PRAGMA synchronous=FULL")
        return connection

    def make_tables(self) -> None:
        for table in TABLES:
            self._connection().execute(table)

    def write(self, name: str, size: int, sha256: str) -> None:
        connection = self._connection()
        connection.execute("BEGIN IMMEDIATE" if self._is_sqlite else "BEGIN")
        connection.execute(FILE.format(self._mark), (name, size, sha256))
        connection.execute(JOB.format(self._mark), (secrets.token_hex(16), name))
        connection.execute("COMMIT")


def application(folder: Path, rows: Rows) -> Callable[..., Awaitable[None]]:
    """The ASGI application."""
    threads = ThreadPoolExecutor(16)

    def finish(file: Any, path: Path, size: int, sha256: str) -> None:
        file.flush()
        os.fsync(file.fileno())
        file.close()
        path.rename(path.with_suffix(""))
        descriptor = os.open(folder, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
        rows.write(path.stem, size, sha256)

    async def serve(scope: Message, receive: Callable[[], Awaitable[Message]], send: Any) -> None:
        if scope["type"] != "http":
            return
        path = folder / f"{secrets.token_hex(8)}.tmp"
        digest, size, more = hashlib.sha256(), 0, scope["method"] == "POST"
        if more:
            with path.open("xb") as file:
                while more:
                    message = await receive()
                    piece, more = message["body"], message["more_body"]
                    file.write(piece)
                    digest.update(piece)
                    size += len(piece)
                await asyncio.get_running_loop().run_in_executor(
                    threads, finish, file, path, size, digest.hexdigest()
                )
        answer = b"{}"
        headers = [(b"content-length", b"%d" % len(answer))]
        await send({"type": "http.response.start", "status": 202, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    return serve


def build() -> Callable[..., Awaitable[None]]:
    """The application of the process, from the command's arguments."""
    folder = Path(os.environ["FLOOR_FOLDER"])
    rows = Rows(os.environ["FLOOR_DATABASE"])
    rows.make_tables()
    return application(folder, rows)


def main() -> None:
    from granian import Granian
    from granian.constants import HTTPModes, Interfaces, Loops

    _, port, folder, database_url, loop = sys.argv
    os.environ |= {"FLOOR_FOLDER": folder, "FLOOR_DATABASE": database_url}
    Granian(
        "bench.floor:build",
        factory=True,
        interface=Interfaces.ASGI,
        address="127.0.0.1",
        port=int(port),
        websockets=False,
        http=HTTPModes.http1,
        loop=Loops(loop),
        log_enabled=False,
    ).serve()


if __name__ == "__main__":
    main()
