"""Deletes the files that a sweep found, unless the brake stops it, and enqueues stuck uploads."""

from functools import cached_property
from typing import Any

import peewee

from gifster.uploads.columns.rows import row_of
from gifster.uploads.columns.states import FAILED
from gifster.uploads.files.cache import CachedFile
from gifster.uploads.files.keys import table_of
from gifster.uploads.files.stored import StoredFile
from gifster.uploads.instrumentation import instrument
from gifster.uploads.mirror import delete_with_copies, half_written_with_copies
from gifster.uploads.mount import Mount
from gifster.uploads.storage.base import check_present
from gifster.uploads.storage.shapes import is_made_here
from gifster.uploads.sweep.findings import Findings, Why
from gifster.uploads.sweep.judging import Judgement
from gifster.uploads.sweep.places import Place
from gifster.uploads.sweep.reading import guarded

#: The brake: without `force` a sweep deletes no more files of a storage than this, and no more than
#: one in so many.
BRAKE_FILES, BRAKE_ONE_IN = 100, 10


class Repairs:
    """Reports the findings, and repairs them if asked.

    Parameters:
      judgement: with its suspects found.
      repair, force: as for `sweep()`.
    """

    def __init__(self, judgement: Judgement, *, repair: bool, force: bool) -> None:
        self._judgement, self._ledger = judgement, judgement.ledger
        self._found: Findings = judgement.found
        self._repair, self._force = repair, force
        #: By the number of the storage and the full name: what rows named, and does not exist.
        self._gone: dict[tuple[int, str], str] = {}

    def files(self, place: Place) -> None:
        """Report and repair the files of one storage."""
        if place.files is None or place.listing is None:
            return
        try:
            braked = self._suspects(place)
            self._missing(place)
            remove = self._repair and not braked
            for key in half_written_with_copies(place.storages, place.before, remove, is_made_here):
                self._found.abandoned.append(f"{place.name}:{key}")
        except Exception as error:  # noqa: BLE001 a storage may be anybody's
            self._found.leave(place.name, Why.UNREAD, str(error))

    def _suspects(self, place: Place) -> bool:
        """Report the suspects, and delete them.

        Returns:
          whether the brake kept them.
        """
        keys = []
        for name, cached in self._ledger.suspects(place.number):
            key = place.key(name)
            keys.append(key)
            (self._found.abandoned if cached else self._found.orphans).append(f"{place.name}:{key}")
        braked = not self._force and self._is_too_much(place)
        if braked:
            reason = (
                f"these are {len(keys)} of the storage's {place.files} files, more than "
                f"{BRAKE_FILES} and more than one in {BRAKE_ONE_IN}: check that they may go, "
                "then sweep with force"
            )
            for key in keys:
                self._found.leave(place.name, Why.BRAKE, reason, key)
        elif self._repair:
            for key in keys:
                try:
                    with instrument("delete", storage=place.name, key=key):
                        delete_with_copies(place.storages, key)
                except Exception as error:  # noqa: BLE001 a storage may be anybody's
                    reason = f"could not be deleted: {error}"
                    self._found.leave(place.name, Why.UNREAD, reason, key)
        return braked

    def _is_too_much(self, place: Place) -> bool:
        """Whether the brake keeps the suspects of a storage.

        A cache often has nothing but abandoned files, of forms that were never sent again. Those do
        not count once the stores show that this is the right database.
        """
        stored, cached = self._ledger.count_suspects(place.number)
        files = place.files or 0
        if _is_much(stored, files):
            return True
        return _is_much(stored + cached, files) and not self._is_right_database

    @cached_property
    def _is_right_database(self) -> bool:
        """Whether the database names most of the stored files."""
        named, orphans = self._ledger.count_named(), self._ledger.count_suspects()[0]
        return named >= BRAKE_FILES and orphans * BRAKE_ONE_IN <= named

    def _missing(self, place: Place) -> None:
        names = self._judgement.places.names
        for number, storage in enumerate(names):
            if self._judgement.places.of(storage) is place:
                for name in self._ledger.missing(number, place.number):
                    check_present(place.storage)
                    key = place.key(name)
                    if not place.storage.exists(key):  # not just stored since the listing
                        self._gone[number, name] = f"{storage}:{key}"

    def missing(self) -> None:
        """Report the files that rows name and that are gone. A file that came after the listing may
        have gone together with its name, as a cached one does when it is stored."""
        if self._gone:
            named = self._judgement.still_named(self._gone.keys())
            self._found.missing += [text for file, text in self._gone.items() if file in named]

    def stuck(self) -> None:
        """Report uploads that wait without a job, and enqueue them."""
        if self._judgement.jobs_unread:
            return
        seen = set()
        for number, pk, key in self._ledger.stuck():
            mount = self._judgement.owners[number].mount
            table = table_of(mount.model)
            if (table, mount.name, key) in seen:  # two models of one table
                continue
            seen.add((table, mount.name, key))
            try:
                waiting = _still_waiting(mount, pk, key)
            except Exception as error:  # noqa: BLE001 a column that is not migrated, say
                self._found.leave(table, Why.UNREAD, f"{table} {pk} cannot be loaded: {error}")
                continue
            if waiting is not None:
                record, upload = waiting
                self._found.stuck.append(f"{table} {record.get_id()} {mount.name}")
                if self._repair and mount.background is not None:
                    group = mount.attacher(record).uploader_of(upload).fair_by()
                    mount.background.enqueue(record, mount.name, upload, group)


def _is_much(count: int, files: int) -> bool:
    return count > BRAKE_FILES and count * BRAKE_ONE_IN > files


def _still_waiting(
    mount: Mount[Any], pk: object, key: str
) -> tuple[peewee.Model, CachedFile | StoredFile] | None:
    """A record as a job will find it, and its upload of that key; None if that waits no more."""
    fields, parts = mount.model._meta.get_primary_keys(), pk if isinstance(pk, tuple) else (pk,)
    values = [field.python_value(part) for field, part in zip(fields, parts, strict=True)]
    with guarded(mount.model._meta.database):
        record = row_of(mount.model, values if len(values) > 1 else values[0])
    if record is None or getattr(record, f"{mount.name}_state", None) == FAILED:
        return None
    unprocessed = [stored for stored in mount.stored_files(record) if stored.unprocessed]
    uploads: list[CachedFile | StoredFile] = [*mount.pending(record), *unprocessed]
    return next(((record, upload) for upload in uploads if upload.key == key), None)
