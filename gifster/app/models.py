"""The tables: users and tokens; GIFs, their tags and fingerprints; the findings of the sweep."""

import functools
import hashlib
import math
import secrets
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import peewee

from gifster import jobs
from gifster.app.database import db
from gifster.app.edits import EditField
from gifster.app.texts import Rating, Visibility
from gifster.imaging.image_info import TAKEN_TYPES, VIDEO_TYPES
from gifster.jobs.database_errors import reads
from gifster.jobs.statements import Statement, database_values
from gifster.uploads import (
    Backgrounder,
    CachedFile,
    CacheField,
    ErrorField,
    HasUploads,
    Image,
    ImageInfo,
    ProcessingField,
    StateField,
    StoredFile,
    Uploader,
    mount_uploader,
    process,
    store_in_background,
    version,
)

#: Without 0, O, I and l: an id can be read out on the phone.
ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def new_id() -> str:
    """A random id of 12 characters (70 bits): short in a link, and impossible to guess."""
    number, digits = secrets.randbelow(len(ALPHABET) ** 12), []
    for _ in range(12):
        number, digit = divmod(number, len(ALPHABET))
        digits.append(ALPHABET[digit])
    return "".join(digits)


class MomentField(peewee.BigIntegerField):
    """A moment: an aware `datetime` in UTC, stored as microseconds since the epoch."""

    def db_value(self, value: datetime | int | None) -> int | None:
        return int(value.timestamp() * 1e6) if isinstance(value, datetime) else value

    @reads
    def python_value(self, value: int | None) -> datetime | None:
        return None if value is None else datetime.fromtimestamp(value / 1e6, UTC)


class ChoiceField(peewee.CharField):
    """One of some words. A word that is none of ours, which a later release may have written, is
    read as the one that allows least (decision 105).

    Parameters:
      words: those that there are.
      least: the one of them that allows least.
    """

    def __init__(self, words: type[StrEnum], least: StrEnum, **options: Any) -> None:
        super().__init__(**options)
        self._words, self._least = frozenset(word.value for word in words), least.value

    def python_value(self, value: str | None) -> str | None:
        return value if value is None or value in self._words else self._least


def now() -> datetime:
    """The time by the clock that all nodes share."""
    return datetime.fromtimestamp(jobs.now(), UTC)


def moment_before(age: timedelta) -> datetime:
    """The moment before which something is really so old, also if somebody has set the clock
    meanwhile (see `jobs.moment_before()`). Whatever deletes for good by its age asks it."""
    return datetime.fromtimestamp(jobs.moment_before(age.total_seconds()), UTC)


def rfc3339(moment: datetime) -> str:
    """A moment in UTC in the format of RFC 3339, with milliseconds."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


if TYPE_CHECKING:
    _Model = peewee.Model
else:
    _Model = object


class QuickInsert(_Model):
    """Inserts rows with SQL that is made once for each model. Peewee makes it anew for each row,
    which is a tenth of the time that an upload takes."""

    def save(self, force_insert: bool = False, only: Iterable[Any] | None = None) -> int:
        """Save the record as Peewee does."""
        record: Any = self
        if not force_insert or only is not None or record._meta.auto_increment:
            return int(super().save(force_insert=force_insert, only=only))
        model: Any = type(self)
        _inserting(model).execute(**database_values(record))
        record._dirty.clear()
        return 1


@functools.cache
def _inserting(model: Any) -> Statement:
    return Statement.inserting(model)


class BaseModel(HasUploads, QuickInsert, peewee.Model):
    class Meta:
        database = db
        legacy_table_names = False


class User(BaseModel):
    id = peewee.CharField(12, primary_key=True, default=new_id)
    email = peewee.CharField(254, unique=True)
    name = peewee.CharField(100)
    password_hash = peewee.CharField()
    #: Both together are the `roles.Role`: an admin is one, whether a moderator or not.
    is_admin = peewee.BooleanField(default=False)
    is_moderator = peewee.BooleanField(default=False)
    created_at: Any = MomentField(default=now)
    #: When a worker began to send the welcome mail, and when the mail server accepted it.
    welcome_claimed_at: Any = MomentField(null=True)
    welcomed_at: Any = MomentField(null=True)
    #: Since when it is known that its user reads the mails of its address.
    confirmed_at: Any = MomentField(null=True)
    #: Since when nobody may use it; None for an account that is in use.
    disabled_at: Any = MomentField(null=True)
    #: The address that its user wants, until they confirm it.
    new_email = peewee.CharField(254, null=True)
    #: Of an account that its user left (`accounts.leaving`): whether its GIFs stay.
    leaves_gifs: Any = peewee.BooleanField(null=True)


class Token(BaseModel):
    """A browser's session or a program's token (see `tokens`). Of its secret only the SHA-256 is
    kept."""

    digest = peewee.CharField(64, primary_key=True)
    #: How its user refers to it; it is not secret.
    id = peewee.CharField(12, index=True, default=new_id)
    user = peewee.ForeignKeyField(User, backref="tokens", on_delete="CASCADE")
    kind = peewee.CharField(8, default="token")
    name = peewee.CharField(100, default="")
    scope = peewee.CharField(8, default="admin")
    created_at: Any = MomentField(default=now)
    #: Rounded to the hour.
    last_used_at: Any = MomentField(null=True)
    #: None means that it is valid until it is revoked.
    expires_at: Any = MomentField(null=True)
    #: Of a session: the address and the browser (`User-Agent`) that it was begun with.
    address = peewee.CharField(45, default="")
    browser = peewee.CharField(200, default="")


#: A video may be so many times as long as `uploads.max_video_s`, if an edit shows a part of it that
#: is short enough.
MAX_PARTS = 10


def longest_part(info: ImageInfo, longest_s: float | None) -> ImageInfo:
    """The facts of the longest part that an edit may show of a video; of anything else, and of one
    that is too long in any case, its own."""
    most_ms = round((longest_s or 0) * 1000)
    is_longer = most_ms < info.duration_ms <= most_ms * MAX_PARTS
    return part_of(info, most_ms) if info.content_type in VIDEO_TYPES and is_longer else info


def part_of(info: ImageInfo, duration_ms: int) -> ImageInfo:
    """The facts of so long a part of an animation."""
    frames = math.ceil(info.frames * duration_ms / max(1, info.duration_ms))
    return replace(info, frames=max(2, frames), duration_ms=duration_ms)


#: Lets a GIF be found by its image; called with the GIF's id and the image, in the transaction that
#: stores it. `search.index` sets it, which stands above the tables.
index_image: Callable[[str, StoredFile], None] | None = None


class ImageUploader(Backgrounder, Uploader):
    storage = "store"
    allow_types: frozenset[str] = TAKEN_TYPES | set(VIDEO_TYPES)
    #: The settings say how many (`uploads.max_bytes`).
    max_bytes: int = 50 * 1024 * 1024
    max_video_s: float | None = 60

    @classmethod
    def frames_counted(cls) -> int:
        return cls.max_frames * MAX_PARTS

    @classmethod
    def check_info(cls, info: ImageInfo) -> None:
        # A long video is accepted if an edit shows a part of it: `editing` knows which.
        super().check_info(longest_part(info, cls.max_video_s))

    def store_dir(self) -> str:
        return f"gifs/{self.record.id}"

    def filename(self, version: str | None, upload: CachedFile | StoredFile) -> str:
        if version is not None:
            return version
        # In a public bucket nobody asks who somebody is (decision 85): the address of a version
        # must not tell that of the original.
        source = upload.key if isinstance(upload, CachedFile) else upload.source
        return f"original-{hashlib.sha256(f'original {source}'.encode()).hexdigest()[:16]}"

    def fair_by(self) -> str:
        return self.record.user_id or "anonymous"

    def after_store(self, stored: StoredFile) -> None:
        if self.cached is not None:
            upload = {Gif.bytes: self.cached.bytes, Gif.sha256: self.cached.sha256}
            Gif.update(upload).where(Gif.id == self.record.id).execute()
        FingerprintPart.delete().where(FingerprintPart.gif == self.record).execute()
        rows = [{"gif": self.record, "part": part} for part in fingerprint_parts(stored.dhash)]
        if rows:
            FingerprintPart.insert_many(rows).execute()
        if index_image is None:
            raise RuntimeError("Import gifster.app.search: else no search finds the image.")
        index_image(self.record.id, stored)

    def moves(self, info: ImageInfo) -> bool:
        return info.frames > 1

    def needs_a_gif(self, info: ImageInfo) -> bool:
        return info.frames > 1 and info.content_type in {"image/webp", "image/png", "image/avif"}

    @process(original=False)
    def edited(self, image: Image) -> Image:
        edit = self.record.edit
        return image if edit is None else edit.applied(image)

    def is_edited(self, info: ImageInfo) -> bool:
        edit = self.record.edit
        return edit is not None and edit.applied(Image()) != Image()

    def is_edited_picture(self, info: ImageInfo) -> bool:
        return self.is_edited(info) and info.content_type not in VIDEO_TYPES

    def is_edited_video(self, info: ImageInfo) -> bool:
        return self.is_edited(info) and info.content_type in VIDEO_TYPES

    # What a page shows first.

    @version
    def thumb(self, image: Image) -> Image:
        return image.fit(220, 220)

    @version(when=moves)
    def poster(self, image: Image) -> Image:
        return image.first_frame().fit(480, 480).convert("webp")

    @version(when=moves)
    def tinyposter(self, image: Image) -> Image:
        return image.first_frame().fit(220, None).convert("webp")

    # The gallery takes the smallest of these and the thumb.

    @version(when=moves, later=True)
    def tinymp4(self, image: Image) -> Image:
        return image.fit(320, 320).quality(70).convert("mp4")

    @version(when=moves, later=True)
    def tinywebp(self, image: Image) -> Image:
        return image.fit(220, None).quality(60).convert("webp")

    # A GIF's page, in every format that a client may ask for.

    @version(later=True)
    def preview(self, image: Image) -> Image:
        return image.fit(480, 480)

    @version(of="preview", when=needs_a_gif, later=True)
    def mediumgif(self, image: Image) -> Image:
        return image.convert("gif")

    @version(of="preview", when=moves, later=True)
    def webp(self, image: Image) -> Image:
        return image.convert("webp")

    @version(of="preview", when=moves, later=True)
    def mp4(self, image: Image) -> Image:
        return image.convert("mp4")

    @version(of="preview", when=moves, later=True, smaller_than="mp4")
    def webm(self, image: Image) -> Image:
        return image.convert("webm")

    # What an edit selects, as large as it is: to be shared in place of the original.

    @version(when=is_edited_picture, later=True)
    def full(self, image: Image) -> Image:
        return image

    @version(when=is_edited_video, later=True)
    def fullmp4(self, image: Image) -> Image:
        return image.convert("mp4")

    # What chats ask for: the sizes of Tenor's formats of these names.

    @version(when=moves, later=True)
    def tinygif(self, image: Image) -> Image:
        return image.fit(220, None).convert("gif")

    @version(when=moves, later=True)
    def nanogif(self, image: Image) -> Image:
        return image.fit(None, 90).convert("gif")

    @version(of="nanogif", when=moves, later=True)
    def nanoposter(self, image: Image) -> Image:
        return image.first_frame().convert("webp")


@store_in_background("image")
class Gif(BaseModel):
    id = peewee.CharField(12, primary_key=True, default=new_id)
    user = peewee.ForeignKeyField(User, null=True, backref="gifs", on_delete="SET NULL")
    user_id: str | None
    title = peewee.CharField(200)
    #: What a picture shows, for people who do not see it.
    alt_text = peewee.CharField(1000, default="")
    rating = ChoiceField(Rating, Rating.R, max_length=5, default="g")
    visibility = ChoiceField(Visibility, Visibility.PRIVATE, max_length=8, default="public")
    #: The visibility that it had before a moderator hid it. It is private since then. None for a
    #: GIF that is not hidden.
    hidden_from = ChoiceField(Visibility, Visibility.PRIVATE, max_length=8, null=True)
    created_at: Any = MomentField(default=now, index=True)
    #: Since when it is in the trash; None for a GIF that is not.
    trashed_at: Any = MomentField(null=True)
    #: The size and hash of the original. While a replacement waits, and after it has failed, the
    #: larger of both sizes, and the replacement's hash.
    bytes = peewee.BigIntegerField(default=0)
    sha256 = peewee.CharField(64, null=True)
    #: The hash of the upload as it was sent; null if it had no metadata to take out.
    sent_sha256 = peewee.CharField(64, null=True)
    image = mount_uploader(ImageUploader)
    image_tmp = CacheField()
    image_processing = ProcessingField()
    image_state = StateField()
    image_error = ErrorField()
    #: What is done to the image before its versions are made; None for nothing.
    edit: Any = EditField(null=True)

    class Meta:
        indexes = (
            # Each upload adds up the bytes of its user, from this index alone.
            (("user", "bytes"), False),
            # Finds the oldest GIF of the same file.
            (("sha256", "created_at"), False),
        )


# Lists read the first, whose condition is that of `access.listed()`; the trash reads the second,
# moderators the third, and the question whether a file is there already the last.
_is_public: Any = Gif.visibility == peewee.SQL("'public'")
_trashed_at: Any = Gif.trashed_at
_sent: Any = Gif.sent_sha256
for _name, _columns, _condition in [
    ("gif_listed", (Gif.created_at, Gif.id), _is_public & _trashed_at.is_null()),
    ("gif_trashed", (_trashed_at,), _trashed_at.is_null(False)),
    ("gif_hidden", (Gif.created_at, Gif.id), Gif.hidden_from.is_null(False)),
    ("gif_sent", (_sent,), _sent.is_null(False)),
]:
    Gif.add_index(peewee.ModelIndex(Gif, _columns, where=_condition, name=_name))


class KeptUpload(BaseModel):
    """A cached file that a rejected form keeps, so that the form can be sent again without it."""

    key = peewee.CharField(512, primary_key=True)
    storage = peewee.CharField()
    user = peewee.ForeignKeyField(User, null=True, on_delete="CASCADE")
    bytes = peewee.BigIntegerField()
    kept_at: Any = MomentField(default=now, index=True)


class FingerprintPart(BaseModel):
    """A quarter of a GIF's difference hash; near duplicates have at least one in common."""

    gif = peewee.ForeignKeyField(Gif, on_delete="CASCADE")
    #: Which quarter, and its 16 bits: see `fingerprint_parts()`.
    part = peewee.IntegerField(column_name="quarter")

    class Meta:
        table_name = "likeness"
        primary_key = peewee.CompositeKey("part", "gif")


def hash_bits(dhash: str | None) -> int:
    """The bits of a difference hash: 0 of an image with nothing to see, and if it is damaged."""
    try:
        return int(dhash or "0", 16)
    except ValueError:
        return 0


def fingerprint_parts(dhash: str | None) -> list[int]:
    """The four quarters of a difference hash, each as its number (0 to 3) and its 16 bits.

    Two hashes that differ in at most three bits share a quarter. A hash of all zeros, of an image
    with nothing to see, has no parts.
    """
    bits = hash_bits(dhash)
    return [at << 16 | bits >> 16 * at & 0xFFFF for at in range(4)] if bits else []


class Finding(BaseModel):
    """How many findings of one kind the last sweep had (see `gifster.uploads.sweep`)."""

    kind = peewee.CharField(20, primary_key=True)
    count = peewee.IntegerField()
    found_at: Any = MomentField(default=now)


class DamagedFile(BaseModel):
    """A stored file whose content has changed since (see `gifster.app.file_checks`)."""

    gif = peewee.ForeignKeyField(Gif, on_delete="CASCADE")
    gif_id: str
    storage = peewee.CharField()
    key = peewee.CharField(512)
    reason = peewee.TextField()
    found_at: Any = MomentField(default=now)

    class Meta:
        primary_key = peewee.CompositeKey("storage", "key")


class FileCheck(BaseModel):
    """How far the nightly check of a column's stored files has come: the last row, as JSON."""

    column = peewee.CharField(primary_key=True)
    position = peewee.TextField(null=True)


class WriteProbe(BaseModel):
    """The row that readiness writes to test the database (see `database.check_write`)."""

    id = peewee.IntegerField(primary_key=True)
    content = peewee.BlobField()


class Tag(BaseModel):
    name = peewee.CharField(50, unique=True)


class GifTag(BaseModel):
    gif = peewee.ForeignKeyField(Gif, backref="gif_tags", on_delete="CASCADE")
    tag = peewee.ForeignKeyField(Tag, backref="gif_tags", on_delete="CASCADE")

    class Meta:
        primary_key = peewee.CompositeKey("gif", "tag")
