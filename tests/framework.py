"""A stranger's application, for the framework's own tests: models, and jobs delivered by hand."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import peewee

from gifster.jobs import Job
from gifster.uploads import (
    Backgrounder,
    CacheField,
    ErrorField,
    Image,
    LocalStorage,
    ProcessingField,
    StateField,
    Uploader,
    configure,
    mount_uploader,
    store_in_background,
    version,
)
from gifster.uploads.backgrounder import Promotion
from gifster.uploads.uploader import delete_files
from tests.stack import files_below

db = peewee.DatabaseProxy()


class Base(peewee.Model):
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
    """No backgrounder: stores when the record is saved."""

    @version
    def small(self, image: Image) -> Image:
        return image.fit(20, 20)


class Company(Base):
    name = peewee.CharField(default="")
    logo = mount_uploader(LogoUploader)


class Application:
    """The stranger's application, with its files below `folder`."""

    def __init__(self, folder: Path, database: peewee.Database) -> None:
        self.cache_folder, self.store_folder = folder / "cache", folder / "store"
        db.initialize(database)
        Job.bind(database)
        self.store = LocalStorage(self.store_folder, "/files")
        configure({"cache": LocalStorage(self.cache_folder), "store": self.store})
        database.create_tables([Person, Company, Job])

    @property
    def cached(self) -> list[str]:
        return files_below(self.cache_folder)

    @property
    def stored(self) -> list[str]:
        return files_below(self.store_folder)

    def jobs(self) -> list[Job]:
        return list(Job.select().order_by(Job.created_at))

    def deliver(self, job: Job) -> None:
        """Do what a worker does with a job, and leave the row to the caller."""
        actors: dict[str, Callable[..., Any]] = {
            "store_asset": lambda *arguments: Promotion(*arguments).promote(),
            "remove_files": delete_files,
        }
        actors[job.actor](*job.arguments)

    def work(self) -> None:
        """Deliver all jobs, and those that they enqueue, until none is left."""
        while jobs := self.jobs():
            for job in jobs:
                self.deliver(job)
                job.delete_instance()
