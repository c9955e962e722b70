"""A stranger's application, as `mypy --strict` and pyright in strict mode read it.

`test_types.py` runs both over this module, and its functions, too. Each `assert_type` holds for
both checkers. Each `ignore` is an error that both must find: an unnecessary one fails the test.
"""

from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, BinaryIO, assert_type

import dramatiq
import peewee
import pytest
from dramatiq.brokers.redis import RedisBroker
from dramatiq.rate_limits.backends import RedisBackend
from fastapi import UploadFile
from werkzeug.datastructures import FileStorage

from gifster import jobs, uploads
from gifster.jobs import Job
from gifster.uploads import CachedFile, ImageInfo, StoredFile, UploadFailure, endpoints, testing
from gifster.uploads.mount import Mount

db = peewee.DatabaseProxy()


class FolderStorage:
    """A storage of one's own: five methods, and no base class."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def upload(self, source: Path, key: str, content_type: str) -> None:
        target = self.folder / key
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())

    def open(self, key: str) -> BinaryIO:
        return (self.folder / key).open("rb")

    def exists(self, key: str) -> bool:
        return (self.folder / key).exists()

    def delete(self, key: str) -> None:
        (self.folder / key).unlink(missing_ok=True)

    def url(self, key: str, expires_s: int | None = None) -> str:
        return f"/pictures/{key}"


class TestFolderStorage(testing.StorageContract):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> FolderStorage:
        return FolderStorage(tmp_path)


class NameTaken(uploads.UploadError):
    code = "name_taken"


def moves(uploader: uploads.Uploader, info: ImageInfo) -> bool:
    return info.frames > 1


class PictureUploader(uploads.Backgrounder, uploads.Uploader):
    record: "Product | Album"
    storage = "store"
    allow_types = {"image/png", "image/gif"}
    max_bytes = 5 * 1024 * 1024
    derivations_url = "/derivations"
    width_range = (1, 4_000)

    @uploads.process
    def shrink(self, image: uploads.Image) -> uploads.Image:
        return image.fit(2_000, 2_000)

    @uploads.version
    def thumb(self, image: uploads.Image) -> uploads.Image:
        return image.fill(64, 64).convert("png")

    @uploads.version(of="thumb", when=moves, later=True)
    def poster(self, image: uploads.Image) -> uploads.Image:
        return image.first_frame()

    def is_wide(self, info: ImageInfo) -> bool:
        return info.width > 1_000

    @uploads.version(when=is_wide, smaller_than="thumb")
    def banner(self, image: uploads.Image) -> uploads.Image:
        return image.fit(600, 200)

    @uploads.version(file=True, when=lambda uploader, info: info.content_type == "text/csv")
    def tidy(self, file: Path) -> bytes:
        return file.read_bytes().strip()

    @uploads.metadata
    def first_bytes(self, file: uploads.LocalFile) -> str:
        with file.open() as opened:
            return opened.read(4).hex()

    @uploads.derivation
    def box(self, image: uploads.Image, width: int, height: int) -> uploads.Image:
        return image.fit(width, height)

    def store_dir(self) -> str:
        return f"shop/{self.record.owner}"

    def filename(self, version: str | None, upload: CachedFile | StoredFile) -> str:
        return version or uploads.safe_name(upload.filename)

    def default_url(self, version: str | None) -> str | None:
        return None if version is None else f"/nothing-{version}.png"

    def fair_by(self) -> str | None:
        return assert_type(self.record.owner, str)

    def cache_owner(self) -> str:
        return self.record.owner

    def before_cache(self, filename: str) -> None:
        if filename == "secret.png":
            raise NameTaken("This name is taken.")

    def after_cache(self, cached: CachedFile) -> None:
        assert_type(cached.info.width, int)

    def before_process(self, info: ImageInfo) -> None:
        assert_type(info.content_type, str)

    def after_store(self, stored: StoredFile) -> None:
        jobs.enqueue("announce", stored.key)

    def before_remove(self, stored: StoredFile) -> None:
        assert_type(stored.versions["thumb"].bytes, int)

    def after_remove(self, files: Sequence[tuple[str, str]]) -> None:
        for name, key in files:
            assert_type((name, key), tuple[str, str])

    def caption(self) -> str:
        """A method of the uploader's own."""
        return "" if self.stored is None else f"{self.stored.width}×{self.stored.height}"


class IconUploader(PictureUploader):
    """Without a version of its base class."""

    banner = None  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]


class Shop(uploads.HasUploads, peewee.Model):
    owner = peewee.CharField(default="ann")

    class Meta:
        database = db


@uploads.store_in_background("picture")
class Product(Shop):
    picture = uploads.mount_uploader(PictureUploader)
    picture_tmp = uploads.CacheField()
    picture_processing = uploads.ProcessingField()
    picture_state = uploads.StateField()
    picture_error = uploads.ErrorField()
    remove_picture = uploads.RemoveFlag()
    remote_picture_url = uploads.RemoteUrl()
    remote_picture_request_headers = uploads.RequestHeaders()
    picture_cache = uploads.CacheId()
    process_picture_upload = uploads.ProcessFlag()

    def save(
        self, force_insert: bool = False, only: Iterable[Any] | None = None, **options: Any
    ) -> int:
        with jobs.transaction(db):
            return super().save(force_insert, only, **options)


@uploads.store_in_background("photos", actor="store_photo", queue="photos")
class Album(Shop):
    photos = uploads.mount_uploaders(PictureUploader)
    photos_tmp = uploads.CacheListField()
    remove_photos = uploads.RemoveFlag()
    remote_photos_urls = uploads.RemoteUrls()
    photos_cache = uploads.CacheIds()
    process_photos_upload = uploads.ProcessFlag()


@uploads.process_in_background("scan")
class Letter(Shop):
    scan = uploads.mount_uploader(PictureUploader, unique=True)
    scan_processing = uploads.ProcessingField()


def set_up(folder: Path, broker: str) -> None:
    database = peewee.SqliteDatabase(str(folder / "shop.db"), pragmas={"journal_mode": "wal"})
    database.bind(jobs.TABLES)
    db.initialize(database)  # pyright: ignore[reportUnknownMemberType] Peewee's
    storages: dict[str, uploads.Storage] = {
        "cache": uploads.LocalStorage(folder / "cache"),
        "store": FolderStorage(folder / "store"),
    }
    uploads.configure(storages, max_retries=3, secret="0123456789abcdef")
    made = jobs.connect(
        broker, weights={"default": jobs.QueueWeight(5), "photos": jobs.QueueWeight(3, max=2)}
    )
    assert_type(made, dramatiq.Broker)
    assert isinstance(made, RedisBroker)
    RedisBackend(client=made.client)  # pyright: ignore[reportUnknownMemberType] Dramatiq's
    endpoints.derivations(PictureUploader)


def declare_actors() -> "dramatiq.Actor[[str], None]":
    from gifster.uploads.actors import Promotion, Recreation, process_actor, store_actor

    def given_up(error: BaseException, *arguments: Any) -> None:
        print(error, arguments)

    @dramatiq.actor(queue_name="default", max_retries=5, on_dead=given_up, outbox_only=True)
    def announce(key: str) -> None:
        print(key)

    @store_actor(queue_name="photos", priority=5)
    def store_photo(promotion: Promotion) -> None:
        promotion.promote()

    @process_actor()
    def process_scan(recreation: Recreation) -> None:
        recreation.process_first()

    return announce


def form(product: Product, picture: IO[bytes] | None, values: dict[str, str]) -> None:
    """What a view does with a form."""
    if picture is not None:
        product.picture = picture
    product.remove_picture = values.get("remove")
    product.remote_picture_request_headers = {"Authorization": "Bearer …"}
    product.remote_picture_url = values.get("url")
    product.picture_cache = values.get("cache")
    try:
        product.save()
    except uploads.UploadError as error:
        assert_type(error.code, str)


def flask(product: Product, part: FileStorage) -> None:
    product.picture = part


def fastapi(product: Product, part: UploadFile) -> None:
    product.picture = part


def one_file(product: Product, other: Album, content: bytes) -> None:
    assert_type(product.picture, PictureUploader)
    assert_type(product.picture.caption(), str)
    product.picture = content
    product.picture = Path("cat.png")
    product.picture = other.photos[0]
    product.picture = f"data:image/png;base64,{b64encode(content).decode()}"
    product.picture = None
    product.picture.assign(content, "cat.png")
    assert_type(product.picture.cache_id, str | None)
    product.picture.remove()


def what_is_there(product: Product) -> Iterator[str | None]:
    assert_type(product.picture_tmp, CachedFile | None)
    assert_type(product.picture_processing, bool)
    assert_type(product.picture_state, uploads.UploadState | None)
    assert_type(product.picture_error, UploadFailure | None)
    assert_type(product.remove_picture, bool)
    assert_type(product.picture_cache, str | None)
    assert_type(product.process_picture_upload, bool)
    assert_type(Product.picture, Mount[PictureUploader])
    assert_type(product.picture.stored, StoredFile | None)
    assert_type(product.picture.thumb.url(), str | None)
    assert_type(product.picture.first_bytes, str | None)
    assert_type(product.picture.derivation_url("box", 60, 40), str | None)
    assert_type(product.picture.recreate_versions("thumb"), Job | None)
    if product.picture:
        yield product.picture.url("thumb", expires_s=60)
    if product.picture_error is not None:
        yield product.picture_error.message


def several_files(album: Album, content: bytes) -> list[str | None]:
    album.photos = [content, Path("cat.png")]
    assert_type(album.photos, uploads.UploaderList[PictureUploader])
    assert_type(album.photos[0], PictureUploader)
    assert_type(album.photos_tmp, list[CachedFile])
    assert_type(album.photos_cache, str | None)
    assert_type(album.remote_photos_urls, list[str] | None)
    assert_type(album.photos.identifiers, list[str])
    assert_type(album.photos[0].identifier, str | None)
    album.photos = album.photos.identifiers
    album.photos += [content]
    album.photos = reversed(album.photos)
    album.photos = [content, album.photos[0]]
    album.photos = None
    album.photos.append(content, "cat.png")
    album.remove_photos = True
    album.photos.extend([content])
    album.photos.replace([content])
    album.photos.remove(album.photos[0])
    album.photos.append(content)
    return [photo.url("thumb") for photo in album.photos]


def mistakes(product: Product, album: Album) -> None:
    """Each is one to both checkers. Nobody calls this function."""
    product.picture = 7  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
    product.picture.captoin()  # type: ignore[attr-defined]  # pyright: ignore[reportUnknownMemberType, reportAttributeAccessIssue]
    product.remove_picture = 7  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
    product.picture_cache = 7  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
    product.remove_pictrue = True  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    album.photos = 7  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
    album.photos_cache = 7  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
    album.photos.append(7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    uploads.configure({"store": 7})  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType]


def records() -> list[Product]:
    product = Product.create(owner="Bob", picture=Path("cat.png"))  # pyright: ignore[reportUnknownMemberType] Peewee's
    assert_type(product, Product)
    assert_type(product.save(), int)
    assert_type(product.delete_instance(), int)
    saved = Product.get_by_id(product.owner)  # pyright: ignore[reportUnknownMemberType] Peewee's
    assert_type(saved.picture, PictureUploader)
    again = uploads.recreate_all(Product.picture, ["thumb"], where=Product.owner == "Bob")
    assert_type(again, list[Job | None])
    found = uploads.sweep(repair=False)
    assert_type(found.counts(), dict[str, int])
    return list(Product.select().where(Product.owner == "Bob"))  # pyright: ignore[reportUnknownMemberType] Peewee's


def work() -> None:
    with jobs.transaction(db):
        job = jobs.enqueue("announce", "a", queue="default", in_s=60, unique="a", group="ann")
        assert_type(job, Job | None)
        jobs.enqueue("announce", "b", at=datetime.now(UTC))
    assert_type(jobs.relay(), int)
    for job in jobs.find(jobs.State.DEAD):
        assert_type(job.actor, str)
        assert_type(job.arguments, list[Any])
        assert_type(job.error, str | None)
        assert_type(job.due_at, float | None)
        jobs.retry(job.id)
    for queue in jobs.stats():
        assert_type(queue.queue, str)
    for worker in jobs.workers():
        assert_type(worker, jobs.Worker)
    hourly = {"hourly": jobs.every(3600, "announce", ["a"])}
    assert_type(hourly, dict[str, jobs.Recurring])
    jobs.declare_recurring(hourly | {"digest": jobs.cron("0 7 * * mon", "announce", ["b"])})
    jobs.enqueue_recurring(hourly)
    assert_type(jobs.migrate(db), list[str])


def in_tests(product: Product) -> None:
    testing.assert_enqueued("store_asset", product)
    assert_type(testing.run_jobs(), int)
    assert_type(testing.enqueued(), list[Job])
    with testing.inline_jobs():
        product.save()
