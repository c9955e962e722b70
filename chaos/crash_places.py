"""Where the application runs whose process dies: on SQLite and folders, on PostgreSQL and folders,
or on SQLite and an S3 server. Each state of it is a place of its own, which can be copied."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from chaos.crash_models import KINDS
from chaos.crash_points import watch_database
from chaos.databases import postgresql_server
from gifster import jobs
from gifster.uploads import LocalStorage, MirrorStorage, Storage, StorageUnavailable
from gifster.uploads.resumable.table import ResumableUpload
from tests import databases, s3
from tests.machine import files_below, has_room
from tests.uploads.framework import Application


class CutOff(LocalStorage):
    """A folder that is sometimes away."""

    is_away = False

    def upload(self, source: Path, key: str, content_type: str) -> None:
        self._reach()
        super().upload(source, key, content_type)

    def delete(self, key: str) -> None:
        self._reach()
        super().delete(key)

    def _reach(self) -> None:
        if self.is_away:
            raise StorageUnavailable("cut off")


class Opened(Application):
    """The application in a place, in a process of its own.

    Attributes:
      folder: of the place.
      second: the storages that a mirror copies into.
    """

    def __init__(self, folder: Path, url: str, server: s3.S3Server | None) -> None:
        self.folder = folder
        (folder / "tmp").mkdir(exist_ok=True)
        tempfile.tempdir = str(folder / "tmp")
        jobs.connect("stub://")
        self.places: dict[str, list[Path]] = {}
        database = databases.connect(url)
        database.connect()
        super().__init__(folder, database, server)
        self.places = {"cache": [self.cache_folder], "store": [self.store_folder]}
        for name in ("mirror", "late", "cut-off"):
            self._mirror(name, server)
        self.configure()
        ResumableUpload.bind(database)
        watch_database(database)

    def _mirror(self, name: str, server: s3.S3Server | None) -> None:
        first: Storage
        if server is None:
            first, first_folder = LocalStorage(self.folder / name, "/m"), self.folder / name
        else:
            bucket = f"{self.store_folder.name}-{name}"
            first, first_folder = server.storage(bucket, base_url="/m"), server.folder(bucket)
        second_folder = self.folder / f"{name}-2"
        second = (CutOff if name == "cut-off" else LocalStorage)(second_folder)
        self.also[name] = MirrorStorage(first, second, later=name == "late")
        self.places[name] = [first_folder, second_folder]

    def _make_tables(self) -> None:
        """They are there already, unless the place is new."""

    def make_tables(self, *models: Any) -> None:
        super()._make_tables()
        self.create_tables(*models)

    def cut_off(self, *, is_away: bool) -> None:
        """Whether the second storage of one of the mirrors is away."""
        mirror: Any = self.also["cut-off"]
        mirror.second.is_away = is_away

    def files(self, storage: str) -> list[set[str]]:
        """The keys in a storage; those of a mirror in both, one after the other."""
        return [
            {key for key in files_below(folder) if not key.endswith(".used")}
            for folder in self.places[storage]
        ]


class Folders:
    """Places on SQLite and folders.

    Parameters:
      root: an empty folder. A place is a folder in it, whose name no other name begins with.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def open(self, name: str) -> Opened:
        """The application in a place. Call it in a process of its own."""
        return Opened(self.root / name, self._url(name), self._server())

    def make(self, name: str) -> None:
        """A place with empty tables. Call it in a process of its own."""
        (self.root / name).mkdir()
        application = self.open(name)
        tables = [kind.model for kind in KINDS]
        application.make_tables(*tables, ResumableUpload)
        application.database.close_all()

    def copy(self, name: str, to: str) -> None:
        """Copy a place that no process uses."""
        shutil.copytree(self.root / name, self.root / to)

    def drop(self, name: str) -> None:
        shutil.rmtree(self.root / name)

    def _url(self, name: str) -> str:
        return f"sqlite:///{self.root / name / 'db'}"

    def _server(self) -> s3.S3Server | None:
        return None


class OnPostgreSQL(Folders):
    """Places whose tables are in a database of a PostgreSQL server."""

    def __init__(self, root: Path, server: Any) -> None:
        super().__init__(root)
        import psycopg

        self._get_uri = server.get_uri
        self._connection = psycopg.connect(server.get_uri(), autocommit=True)
        # Processes die here, and no machine: nothing waits for the disk.
        for name in ("fsync", "synchronous_commit", "full_page_writes"):
            self._connection.execute(f"ALTER SYSTEM SET {name} = off")
        self._connection.execute("SELECT pg_reload_conf()")

    def make(self, name: str) -> None:
        import psycopg

        with psycopg.connect(self._get_uri(), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        super().make(name)

    def copy(self, name: str, to: str) -> None:
        # It waits until the server has noticed that the processes in the database are gone.
        self._connection.execute(f'CREATE DATABASE "{to}" TEMPLATE "{name}"')
        super().copy(name, to)

    def drop(self, name: str) -> None:
        self._connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        super().drop(name)

    def _url(self, name: str) -> str:
        return str(self._get_uri(name))


class OnS3(Folders):
    """Places whose cache, store and first storages of mirrors are buckets of a server."""

    def __init__(self, root: Path, server: s3.S3Server) -> None:
        super().__init__(root)
        self._s3 = server
        # A client of its own, because two processes cannot share connections. It has none yet.
        self._for_children: Any = s3.S3Server(server.root, server.port)
        self._for_children._client = server.connected()

    def copy(self, name: str, to: str) -> None:
        super().copy(name, to)
        for bucket in self._buckets(name):
            other = bucket.name.replace(name, to, 1)
            client = self._s3.storage(other)._connected()
            for key in files_below(bucket):
                source = {"Bucket": bucket.name, "Key": key}
                client.copy_object(Bucket=other, Key=key, CopySource=source)

    def drop(self, name: str) -> None:
        super().drop(name)
        for bucket in self._buckets(name):
            shutil.rmtree(bucket)

    def _buckets(self, name: str) -> list[Path]:
        return [path for path in self._s3.root.iterdir() if path.name.startswith(name)]

    def _server(self) -> s3.S3Server:
        return self._for_children


@contextmanager
def _root() -> Iterator[Path]:
    """An empty folder, in memory if there is room: nothing here waits for a disk."""
    memory = Path("/dev/shm")
    where = str(memory) if has_room(memory) else None
    with tempfile.TemporaryDirectory(prefix="gifster-crashes-", dir=where) as name:
        yield Path(name)


@contextmanager
def sqlite() -> Iterator[Folders]:
    with _root() as root:
        yield Folders(root)


@contextmanager
def postgresql() -> Iterator[Folders]:
    """Raises `NotHere`."""
    with ExitStack() as stack:
        server = stack.enter_context(postgresql_server())
        yield OnPostgreSQL(stack.enter_context(_root()), server)


@contextmanager
def buckets() -> Iterator[Folders]:
    with ExitStack() as stack:
        root, kept = stack.enter_context(_root()), stack.enter_context(_root())
        (kept / "s3").mkdir()
        yield OnS3(root, stack.enter_context(s3.running(kept / "s3")))


#: By name; each context manager yields the places.
PLATFORMS = {"sqlite": sqlite, "postgresql": postgresql, "s3": buckets}
