"""An uploader: the rules for one kind of file, and one file under those rules.

The class says what is taken, where it is kept and what is made of it. An instance belongs to one
column of one record, `gif.image` is one; or to one file of a list-valued column, `album.photos[0]`.
"""

from typing import Any

from gifster.imaging.probe import ImageInfo
from gifster.jobs import Job
from gifster.uploads import keys
from gifster.uploads.background import Background, enqueue_recreation
from gifster.uploads.cache import CachedFile
from gifster.uploads.cache_ids import cache_id, retrieve
from gifster.uploads.column import UploadColumn
from gifster.uploads.processing import ORIGINAL, ProcessedFile
from gifster.uploads.record import Slot, uploads_of
from gifster.uploads.remote import fetch
from gifster.uploads.sources import cache_upload
from gifster.uploads.stored import Files, StoredFile
from gifster.uploads.validation import Limits
from gifster.uploads.versions import versions_of


class Uploader(Limits):
    """Rules for one kind of file. Subclass it and change what differs."""

    # Not in `__dict__`, which the record keeps (`record.py`): it would hold itself.
    __slots__ = ("record",)

    #: The name of the storage (given to `configure()`) where files stay.
    storage = "store"

    def __init__(
        self,
        record: Any,
        mount: UploadColumn[Any],
        item: CachedFile | StoredFile | None = None,
    ) -> None:
        self.record = record
        self.mount = mount
        #: In a list-valued column: which of its files this is.
        self.item = item
        #: What was decided since the record was last saved.
        self.slot = Slot() if mount.many else uploads_of(record).slot(mount.name)

    # What an uploader may override.

    def store_dir(self) -> str:
        """The first part of the keys of this record's files."""
        table = self.record._meta.table_name
        return f"{table}/{self.mount.name}/{keys.segment(self.record)}"

    def filename(self, version: str | None, upload: CachedFile | StoredFile) -> str:
        """The last part of a file's key, without the extension, which its content decides.

        It need not be unique: each upload has a folder of its own. Override it for names that mean
        something: by `safe_name(upload.filename)`, or by content, `upload.sha256[:16]`.

        Parameters:
          version: a version's name; None is the original.
          upload: what was uploaded: `filename` is the client's name for it.
        """
        return version or ORIGINAL

    def default_url(self, version: str | None) -> str | None:
        """What `url()` says while there is no such file."""
        return None

    def cache_owner(self) -> str:
        """Whom the cache ids of this record are for, such as the id of the person who has signed
        in. Nobody else's are taken, and the file is handed on instead of copied. By default they
        are for whoever has them."""
        return ""

    def fair_by(self) -> str | None:
        """Whose the jobs of this upload are, such as a user's id: with many jobs one user does not
        hold up the others (`group` of `jobs.enqueue()`). Override it; None leaves them in one line.
        """
        return None

    def before_cache(self, filename: str) -> None:
        """Before an assigned source is read. An `UploadError` refuses it."""

    def after_cache(self, cached: CachedFile) -> None:
        """When an upload has been assigned. An `UploadError` refuses it."""

    def before_process(self, info: ImageInfo) -> None:
        """Before versions are made. An `UploadError` makes the upload fail."""

    def after_process(self, files: list[ProcessedFile]) -> None:
        """When files have been made, before they are stored: all of them; where versions are
        `later`, first those that are not, and then all."""

    def before_store(self, stored: StoredFile) -> None:
        """Before files are stored: `stored` says where they are going to be. Where versions are
        `later`, once for those that are not, and once for all."""

    def after_store(self, stored: StoredFile) -> None:
        """In the transaction in which the row comes to name the stored files, all of them.

        So a job that is enqueued here (`gifster.jobs.enqueue`) runs exactly if they are there. An
        exception undoes the storing.
        """

    def before_remove(self, stored: StoredFile) -> None:
        """In the transaction in which the row detaches a stored file. An exception undoes it."""

    def after_remove(self, files: Files) -> None:
        """In a worker, when such files have been deleted. The record may be gone: it has nothing
        but its primary key here."""

    # What the record has.

    @property
    def assigned(self) -> CachedFile | None:
        """The upload assigned since the record was last saved."""
        return self.slot.assigned

    @property
    def removing(self) -> bool:
        """Whether the file goes when the record is saved."""
        return self.slot.removing

    @property
    def stored(self) -> StoredFile | None:
        """The file that is stored, with its facts."""
        if self.mount.many:
            return self.item if isinstance(self.item, StoredFile) else None
        stored: StoredFile | None = self.record.__data__.get(self.mount.name)
        return stored

    @property
    def cached(self) -> CachedFile | None:
        """The upload that waits to be stored by a worker."""
        if self.mount.many:
            return self.item if isinstance(self.item, CachedFile) else None
        cached: CachedFile | None = self.record.__data__.get(f"{self.mount.name}_tmp")
        return cached

    @property
    def changed(self) -> bool:
        """Whether saving the record has something to do here."""
        return self.assigned is not None or self.removing

    @property
    def background(self) -> Background | None:
        """How the assigned file is left to a worker; see `Backgrounder`."""
        return None

    def __bool__(self) -> bool:
        return self.stored is not None

    def url(self, version: str | None = None, expires_s: int | None = None) -> str | None:
        """Where a browser finds the file, or one version of it.

        Parameters:
          version: its name; None is the original.
          expires_s: the URL is signed and good for so many seconds; None leaves it to the storage.

        Returns:
          `default_url()` while that file is not there.
        """
        stored = self.stored
        if stored is None or (version is not None and version not in stored.versions):
            return self.default_url(version)
        file = stored.versions[version] if version is not None else stored
        return file.url(expires_s)

    @property
    def cache_id(self) -> str | None:
        """For a form's hidden field: stands for what was assigned, if the form is shown again."""
        return None if self.assigned is None else cache_id(self.assigned, self.cache_owner())

    # What is done with it.

    def assign(self, source: Any, filename: str = "") -> None:
        """Take a new file, which replaces the present one when the record is saved.

        Parameters:
          source: an open file, which is read from its beginning, a path, bytes, a form's part, a
            data URI, or what is in the cache already (a `CachedFile`, which belongs to this record
            from then on). A file that another record has, or this one has stored, is copied: a
            `CachedFile`, a `StoredFile`, or an uploader.
          filename: the name to remember; by default the source's own.

        Raises:
          UploadError: the uploader does not take it.
        """
        if isinstance(source, Uploader):
            source = source.assigned or source.cached or source.stored
            if source is None:
                return self.remove()
        if not isinstance(source, CachedFile):
            self.before_cache(filename)
            source = cache_upload(type(self), source, filename)
        self._take(source)
        return None

    def assign_remote(self, url: str) -> None:
        """Fetch the file that a URL leads to, and take it; see `remote.py`.

        Raises:
          UploadError: it cannot be fetched, or the uploader does not take it.
        """
        self.before_cache("")
        self._take(fetch(type(self), url))

    def assign_cache_id(self, text: str) -> None:
        """Take the file that a cache id stands for: a form's that is shown again, or one that a
        client wrote into the cache directly.

        Raises:
          UploadError: there is none, or the uploader does not take it.
        """
        self.before_cache("")
        self._take(retrieve(type(self), text, self.cache_owner()))

    def remove(self) -> None:
        """Detach the file when the record is saved."""
        self.slot.assigned, self.slot.removing = None, True
        self._mark_dirty()

    def recreate_versions(self, *names: str) -> Job | None:
        """Have versions made again from the stored original, by a worker.

        Parameters:
          names: which; none means all that the uploader declares, and those that it no longer
            declares go.

        Returns:
          the job; None if nothing is stored, or such a job is waiting already.

        Raises:
          LookupError: there is no version of that name.
        """
        unknown = set(names) - set(versions_of(type(self)))
        if unknown:
            raise LookupError(f"{type(self).__name__} has no version {sorted(unknown)[0]!r}")
        if self.stored is None:
            return None
        return enqueue_recreation(self.record, self.mount.name, self.stored, names)

    def _take(self, cached: CachedFile) -> None:
        if not cached.claim(self.slot):
            cached = cache_upload(type(self), cached)
            cached.claim(self.slot)
        try:
            self.after_cache(cached)
        except BaseException:
            cached.discard()
            raise
        self.slot.assigned, self.slot.removing = cached, False
        self._mark_dirty()

    def _mark_dirty(self) -> None:
        """So that `save(only=record.dirty_fields)` saves it."""
        self.record._dirty.add(self.mount.name)
