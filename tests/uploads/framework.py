"""A small application that uses the framework: its models, and ways to run its jobs by hand."""

from pathlib import Path
from typing import Any

import dramatiq
import peewee

from gifster.jobs import TABLES, Job
from gifster.uploads import (
    Backgrounder,
    CacheField,
    ErrorField,
    HasUploads,
    Image,
    LocalStorage,
    ProcessingField,
    StateField,
    Storage,
    Uploader,
    configure,
    mount_uploader,
    store_in_background,
    version,
)
from gifster.uploads.resumable.table import ResumableUpload
from gifster.uploads.testing import run_jobs
from tests import databases
from tests.machine import files_below
from tests.s3 import S3Server

db = peewee.DatabaseProxy()


class Base(HasUploads, peewee.Model):
    class Meta:
        database = db


class AvatarUploader(Backgrounder, Uploader):
    max_bytes = 1_000_000

    @version
    def thumb(self, image: Image) -> Image:
        """Small."""
        return image.fit(50, 50)


@store_in_background("avatar")
class Person(Base):
    name = peewee.CharField(default="")
    avatar = mount_uploader(AvatarUploader)
    avatar_tmp = CacheField()
    avatar_processing = ProcessingField()
    avatar_state = StateField()
    avatar_error = ErrorField()


class LogoUploader(Uploader):
    """Has no backgrounder, so `save()` stores the file."""

    @version
    def small(self, image: Image) -> Image:
        return image.fit(20, 20)


class Company(Base):
    name = peewee.CharField(default="")
    logo = mount_uploader(LogoUploader)


class Application:
    """The application. Its files are below `folder`, or in two buckets of an S3 server."""

    def __init__(self, folder: Path, database: peewee.Database, s3: S3Server | None = None) -> None:
        self.database = database
        db.initialize(database)
        database.bind(TABLES)
        ResumableUpload.bind(None)  # perhaps another test's
        self.cache: Storage
        self.store: Storage
        #: Further storages, by name.
        self.also: dict[str, Storage] = {}
        self._s3 = s3
        if s3 is None:
            self.cache_folder, self.store_folder = folder / "cache", folder / "store"
            self.cache = LocalStorage(self.cache_folder)
            self.store = LocalStorage(self.store_folder, "/files")
        else:
            name = "".join(c for c in folder.name if c.isalnum()).lower()
            self.cache, self.store = (
                s3.storage(f"{name}cache"),
                s3.storage(f"{name}store", base_url="/files"),
            )
            self.cache_folder = s3.folder(f"{name}cache")
            self.store_folder = s3.folder(f"{name}store")
        self.configure()
        self._make_tables()
        self._declare_actors()

    def configure(self, **options: Any) -> None:
        """Set the framework's options, as the application does when it starts."""
        storages = {"cache": self.cache, "store": self.store, **self.also}
        configure(storages, **{"secret": "a secret of the tests"} | options)

    def _make_tables(self) -> None:
        databases.create_tables(self.database, [Person, Company, *TABLES])

    def within_store(self, below: str = "") -> Storage:
        """A second storage object for the store, or for a folder in it."""
        if self._s3 is None:
            return LocalStorage(self.store_folder / below)
        return self._s3.storage(self.store_folder.name, prefix=f"{below}/" if below else "")

    def _declare_actors(self) -> None:
        from gifster.uploads import actors

        for name in (
            "store_asset",
            "complete_asset",
            "process_asset",
            "recreate_versions",
            "update_versions",
            "remove_files",
            "mirror_file",
        ):
            dramatiq.get_broker().declare_actor(getattr(actors, name))

    @property
    def cached(self) -> list[str]:
        return files_below(self.cache_folder)

    @property
    def stored(self) -> list[str]:
        return files_below(self.store_folder)

    def create_tables(self, *models: type[peewee.Model]) -> None:
        self.database.create_tables(models)

    def jobs(self) -> list[Job]:
        return list(Job.select().order_by(Job.created_at))

    def deliver(self, job: Job) -> None:
        """Run a job as a worker does, without deleting its outbox row."""
        dramatiq.get_broker().get_actor(job.actor).fn(*job.arguments)

    def work(self) -> None:
        """Run all jobs, and those that they enqueue, until none is left."""
        run_jobs()


def fresh(record: Any) -> Any:
    """A record as its row is now."""
    return type(record).get_by_id(record._pk)
