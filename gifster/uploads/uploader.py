"""The uploader: the rules for one kind of file, and one file under these rules.

The class says which files are accepted, where they are kept, and which versions are made of them.
An instance such as `gif.image` belongs to one column of one record; in a list-valued column, each
file has one (`album.photos[0]`). The limits are in `files/validation.py`, versions in
`versions/`.
"""

from collections.abc import Callable, Mapping
from typing import Any

from gifster.imaging.image_info import ImageInfo
from gifster.jobs import Job
from gifster.uploads.columns import bulk
from gifster.uploads.columns.attached_file import AttachedFile
from gifster.uploads.columns.column import UploadColumn
from gifster.uploads.columns.record import Slot, uploads_of
from gifster.uploads.columns.rows import (
    check_outbox,
    locked_row,
    locking_transaction,
    real_database,
)
from gifster.uploads.columns.states import FAILED
from gifster.uploads.enqueueing import ALL, Background, enqueue_recreation, enqueue_update
from gifster.uploads.errors import NoFileChosen
from gifster.uploads.files import keys
from gifster.uploads.files.cache import CachedFile
from gifster.uploads.files.cache_ids import cache_id, retrieve
from gifster.uploads.files.sources import Source, cache_download, cache_upload
from gifster.uploads.files.stored import Files, StoredFile
from gifster.uploads.files.validation import Limits
from gifster.uploads.form_values import is_blank
from gifster.uploads.remote.downloader import Downloader
from gifster.uploads.versions.declaring import check_versions, versions_of
from gifster.uploads.versions.derivations import Argument, signed, wanted
from gifster.uploads.versions.processing import ORIGINAL, ProcessedFile


class Uploader(AttachedFile, Limits):
    """The rules for one kind of file. Subclass it, and override what differs.

    Attributes:
      record: the record of this file; None where no record has it yet, such as in `@metadata`.
      mount: the column that it is mounted on.
    """

    # The record keeps an uploader's `__dict__` (`record.py`). With the record in it, that would be
    # a reference cycle.
    __slots__ = ("record",)

    #: The name of the storage for stored files, as `configure()` knows it.
    storage = "store"
    #: Whether processing steps apply and versions are made. If not, each version is a copy of the
    #: original, which makes tests fast (see `testing.without_processing`).
    enable_processing = True
    #: Where the application has mounted the endpoint of the derivations: a path, or a URL.
    derivations_url = ""
    #: Whether a file that is replaced or removed stays in its storage (CarrierWave's
    #: `remove_previously_stored_files_after_update = false`). Nothing names it any more, so it is
    #: the application's to delete. The files of a deleted record go all the same.
    keep_files = False
    #: Whether an original that no step changes is moved from the cache to the store, not copied. It
    #: is possible between two folders of one file system.
    move_to_store = False
    #: Fetches remote files: a `Downloader`, or a function `(rules, url, headers)` that returns
    #: anything that can be assigned. With a function, who may be asked is for it to decide.
    downloader: Callable[[type[Limits], str, Mapping[str, str]], Any] = Downloader()
    #: The request headers for remote files, beside those of `assign_remote()`.
    remote_headers: Mapping[str, str] = {}

    def __init__(
        self,
        record: Any,
        mount: UploadColumn[Any],
        item: CachedFile | StoredFile | None = None,
    ) -> None:
        self.record = record
        self.mount = mount
        #: In a list-valued column, the file that this uploader is for; None for a new one.
        self.item = item
        #: Headers of the record's requests for remote files, beside `remote_headers`.
        self.request_headers: Mapping[str, str] = {}
        #: What was assigned or removed since the record was last saved.
        self.slot = Slot() if mount.many else uploads_of(record).slot(mount.name)

    # What a subclass may override.

    def store_dir(self) -> str:
        """The first part of the storage keys of this record's files; empty for none."""
        table = self.record._meta.table_name
        return f"{table}/{self.mount.name}/{keys.segment(self.record)}"

    def filename(self, version: str | None, upload: CachedFile | StoredFile) -> str:
        """The last part of a file's storage key, without the extension, which follows the content.

        Uploads may have the same name, because each has a folder of its own; the versions of an
        upload may not. Override it for readable names, such as `version or
        safe_name(upload.filename)`. An empty name is the default.

        Parameters:
          version: the version's name; None for the original.
          upload: the upload; its `filename` is the client's name for the file.
        """
        return version or ORIGINAL

    def upload_options(self, version: str | None, upload: StoredFile) -> Mapping[str, Any]:
        """Options for the `upload()` of the storage, if it takes any: those of `S3Storage` are
        boto3's `ExtraArgs`, such as `{"ContentDisposition": "attachment"}`.

        Parameters:
          version: the version's name; None for the original.
          upload: the facts of all files of the upload.
        """
        return {}

    def cache_owner(self) -> str:
        """The owner of this record's cache ids, such as the id of the user who is logged in.

        A cache id of another owner is refused. In return, retrieving the file needs no copy of it.
        By default cache ids have no owner: whoever has one can use it.
        """
        return ""

    def fair_by(self) -> str | None:
        """The group of this upload's jobs (see `jobs.enqueue()`), such as the user's id.

        The fair scheduler takes turns between groups, so one user's many uploads do not hold up
        those of the others. By default the jobs have no group.
        """
        return None

    def before_cache(self, filename: str) -> None:
        """Runs before an assigned source is read. Raise an `UploadError` to refuse it.

        Parameters:
          filename: the client's name for the file; empty if it has none.
        """

    def after_cache(self, cached: CachedFile) -> None:
        """Runs when an upload is in the cache. Raise an `UploadError` to refuse it."""

    def before_process(self, info: ImageInfo) -> None:
        """Runs before versions are made. Raise an `UploadError` to fail the upload."""

    def after_process(self, files: list[ProcessedFile]) -> None:
        """Runs when the files are made, before they are stored.

        If some versions are `later`, it runs twice: first with the other files, then with all.
        """

    def before_store(self, stored: StoredFile) -> None:
        """Runs before the files are stored; `stored` says where they will be.

        If some versions are `later`, it runs twice: first for the other files, then for all.
        """

    def after_store(self, stored: StoredFile) -> None:
        """Runs when all files are stored, in the transaction in which the row comes to name them.

        So a job enqueued here (`gifster.jobs.enqueue`) runs if, and only if, the row has the files.
        An exception rolls the transaction back, and the row does not get them.
        """

    def before_remove(self, stored: StoredFile) -> None:
        """Runs in the transaction in which the row detaches a stored file. Raise to keep it."""

    def after_remove(self, files: Files) -> None:
        """Runs in a worker, after files of this record were deleted.

        The row may be gone by then, so `self.record` has only its primary key.
        """

    @property
    def background(self) -> Background | None:
        """What is left to a worker; None if the save does everything (see `Backgrounder`)."""
        return None

    def derivation_url(
        self, name: str, *arguments: Argument, expires_s: int | None = None
    ) -> str | None:
        """The URL of a derivation, which is made when somebody first asks for it.

        Parameters:
          name: the derivation's.
          arguments: for its method.
          expires_s: how long the URL is valid (seconds); None for ever.

        Returns:
          the URL; `default_url()` while no image is stored.

        Raises:
          LookupError: there is no derivation of that name, or no `derivations_url`.
          TypeError: its method does not take these arguments.
        """
        if not self.derivations_url:
            raise LookupError(f"{type(self).__name__}.derivations_url is empty: set it")
        stored = self.stored
        if stored is None or not stored.frames:
            return self.default_url(name)
        found = wanted(type(self), stored, name, arguments, expires_s)
        path = signed(type(self), found, stored.content_type, arguments)
        return f"{self.derivations_url.rstrip('/')}/{path}"

    @property
    def cache_id(self) -> str | None:
        """The cache id of the assigned upload, for a hidden field when a form is shown again; None
        if nothing is assigned."""
        return None if self.assigned is None else cache_id(self.assigned, self.cache_owner())

    # What a caller can do with it.

    def assign(self, source: "Source | Uploader | None", filename: str = "") -> None:
        """Assign a new file, which replaces the present one when the record is saved.

        Parameters:
          source: an open file (read from its beginning), a path, bytes, a form part, a data URI, or
            a `CachedFile` from the cache, which then belongs to this record. A file that a row
            names or another record holds is copied, whether given as a `CachedFile`, a `StoredFile`
            or an uploader; a version is copied, too. An empty text, and a form's file field in
            which no file was chosen, change nothing.
          filename: the name to remember; by default the source's own.

        Raises:
          UploadError: the uploader refuses the file.
        """
        if isinstance(source, Uploader):
            source = source.assigned or source.cached or source.stored
            if source is None:
                return self.remove()
        if is_blank(source):
            return None
        if not isinstance(source, CachedFile) or self._has_to_strip(source):
            self.before_cache(filename)
            try:
                source = cache_upload(type(self), source, filename)
            except NoFileChosen:
                return None
        self._take(source)
        return None

    def assign_remote(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        """Fetch the file at a URL, and assign it (see `remote/`).

        Parameters:
          headers: of the request, beside `remote_headers`. Only the URL's own host gets them.

        Raises:
          UploadError: the file cannot be fetched, or the uploader refuses it.
          ValueError: a header cannot be sent.
        """
        self.before_cache("")
        headers = {**self.remote_headers, **self.request_headers, **(headers or {})}
        self._take(cache_download(type(self), type(self).downloader, url, headers))

    def assign_cache_id(self, text: str) -> None:
        """Retrieve a cached file by its cache id, and assign it.

        The id comes from a form that is shown again, or from a client that wrote its file directly
        into the cache.

        Raises:
          UploadError: there is no such file, or the uploader refuses it.
        """
        self.before_cache("")
        self._take(retrieve(type(self), text, self.cache_owner()))

    def remove(self) -> None:
        """Detach the file with the next save."""
        if self.mount.many:
            files = getattr(self.record, self.mount.name)
            if self in files:
                files.remove(self)
        elif not self.removing:
            self._begin_change()
            self.slot.set_aside, self.slot.assigned = self.slot.assigned, None
            self.slot.removing = True

    def keep(self) -> None:
        """Cancel `remove()`, if the record was not saved since. A file that was assigned before is
        assigned again."""
        slot = self.slot
        if slot.removing:
            slot.assigned, slot.set_aside, slot.removing = slot.set_aside, None, False
            if slot.assigned is None and not slot.was_dirty:
                self.record._dirty.discard(self.mount.name)

    def recreate_versions(self, *names: str) -> Job | None:
        """Have a worker make versions again from the stored original.

        Parameters:
          names: the versions. Without names, the worker makes all versions that the uploader
            declares, and deletes those that it no longer declares.

        Returns:
          the job; None if nothing is stored, or if such a job already waits.

        Raises:
          LookupError: the uploader has no version of that name.
        """
        check_versions(type(self), names)
        if self.stored is None:
            return None
        check_outbox(type(self.record))
        wanted = names or (ALL, *versions_of(type(self)))
        return enqueue_recreation(self.record, self.mount.name, self.stored, wanted)

    def update_versions(self) -> Job | None:
        """Have a worker make all versions again, after something has changed that their steps read
        of the record (`process(original=False)`). Call it in the transaction of that change.

        Until then the record shows the former versions, and its state is `processing`. The last of
        several changes wins. An upload that still waits for its worker needs no such job: it gets
        its versions by the record as it is when they are stored.

        Returns:
          the job; None if nothing is stored, or if the upload is not processed yet.
        """
        model = type(self.record)
        check_outbox(model)
        database = real_database(model._meta.database)
        # Another process may have stored the file since the record was loaded, or replaced it.
        with locking_transaction(database, lambda: locked_row(self.record)) as row:
            attacher = None if row is None else self.mount.attacher(row)
            present = None if attacher is None else attacher.stored_now(self)
            if attacher is None or present is None or present.unprocessed:
                return None
            waits = attacher.pending and not self.mount.many
            if waits and getattr(row, f"{self.mount.name}_state", None) != FAILED:
                return None
            values = {} if waits else attacher.working()
            if values:  # the model has columns for them
                with bulk.saving():
                    model.update(**values).where(self.record._pk_expr()).execute()
                self.record.__data__.update(values)
            return enqueue_update(self.record, self.mount.name, present, self.fair_by())

    def _take(self, cached: CachedFile) -> None:
        if not cached.claim(self.slot):
            cached = cache_upload(type(self), cached)
            cached.claim(self.slot)
        try:
            self.after_cache(cached)
        except BaseException:
            cached.discard()
            raise
        self._begin_change()
        self.slot.assigned, self.slot.removing = cached, False
        self.slot.set_aside = self.slot.remote_url = None

    def _has_to_strip(self, cached: CachedFile) -> bool:
        """Whether a cached file may have metadata that this uploader takes out."""
        rules = cached.checked
        return self.strip_metadata and not (rules is not None and rules[0].strip_metadata)

    def _begin_change(self) -> None:
        """Mark the column dirty, so that `save(only=record.dirty_fields)` saves it."""
        if not self.changed:
            self.slot.was_dirty = self.mount.name in self.record._dirty
        self.record._dirty.add(self.mount.name)
