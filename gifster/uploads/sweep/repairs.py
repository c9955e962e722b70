"""What a sweep does about what it has found, and the brake that keeps it from doing too much."""

from collections.abc import Iterator
from functools import cached_property
from typing import Any

from gifster.uploads.rows import select
from gifster.uploads.saving import attacher_of
from gifster.uploads.storage.base import Listing
from gifster.uploads.storage.shapes import is_made_here
from gifster.uploads.sweep.findings import Findings, Why
from gifster.uploads.sweep.judging import Judgement
from gifster.uploads.sweep.places import Place, taken
from gifster.uploads.sweep.reading import guarded

#: More files than this, and more than one in so many, are not deleted unless that is forced.
BRAKE_FILES, BRAKE_ONE_IN = 100, 10


class Repairs:
    """Lists what was found, and mends it if that is wanted.

    Parameters:
      repair, force: as for `sweep()`.
    """

    def __init__(self, judgement: Judgement, *, repair: bool, force: bool) -> None:
        self._judgement, self._ledger = judgement, judgement.ledger
        self._found: Findings = judgement.found
        self._repair, self._force = repair, force

    def files(self, place: Place) -> None:
        """All that concerns one storage."""
        if place.files is None or place.listing is None:
            return
        try:
            held = self._suspects(place)
            self._missing(place)
            for key in self._half_written(place.listing, remove=self._repair and not held):
                self._found.abandoned.append(f"{place.name}:{key}")
        except Exception as error:  # noqa: BLE001 a storage may be anybody's
            self._found.leave(place.name, Why.UNREAD, str(error))

    def _suspects(self, place: Place) -> bool:
        """List them, and delete them.

        Returns:
          whether the brake held.
        """
        keys = []
        for name, cached in self._ledger.suspects(place.number):
            key = place.key(name)
            keys.append(key)
            (self._found.abandoned if cached else self._found.orphans).append(f"{place.name}:{key}")
        held = not self._force and self._is_too_much(place)
        if held:
            reason = (
                f"these are {len(keys)} of the storage's {place.files} files, which is more than "
                f"{BRAKE_FILES} and more than one in {BRAKE_ONE_IN}: look whether that can be "
                "right, and sweep with force"
            )
            for key in keys:
                self._found.leave(place.name, Why.BRAKE, reason, key)
        elif self._repair:
            for key in keys:
                try:
                    place.storage.delete(key)
                except Exception as error:  # noqa: BLE001 a storage may be anybody's
                    reason = f"could not be deleted: {error}"
                    self._found.leave(place.name, Why.UNREAD, reason, key)
        return held

    def _is_too_much(self, place: Place) -> bool:
        """Whether the brake holds. A cache may well have nothing but what was abandoned, of forms
        that were never sent again, say: it holds there unless the stores show that the database is
        the right one."""
        stored, cached = self._ledger.count_suspects(place.number)
        files = place.files or 0
        if _is_much(stored, files):
            return True
        return _is_much(stored + cached, files) and not self._is_right_database

    @cached_property
    def _is_right_database(self) -> bool:
        named, orphans = self._ledger.count_named(), self._ledger.count_suspects()[0]
        return named >= BRAKE_FILES and orphans * BRAKE_ONE_IN <= named

    def _missing(self, place: Place) -> None:
        names = self._judgement.places.names
        for number, storage in enumerate(names):
            if self._judgement.places.of(storage) is place:
                for name in self._ledger.missing(number, place.number):
                    key = place.key(name)
                    if not place.storage.exists(key):  # not just stored since the listing
                        self._found.missing.append(f"{storage}:{key}")

    def _half_written(self, storage: Listing, *, remove: bool) -> Iterator[str]:
        options = taken(storage.half_written, ours=is_made_here)
        yield from storage.half_written(self._judgement.before, remove, **options)

    def stuck(self) -> None:
        """Uploads that wait, and that no job is about."""
        if self._judgement.jobs_unread:
            return
        seen = set()
        for number, pk, key in self._ledger.stuck():
            mount = self._judgement.owners[number].mount
            table = mount.model._meta.table_name
            if (table, mount.name, key) in seen:  # two models of one table
                continue
            seen.add((table, mount.name, key))
            try:
                record, upload = _still_waiting(mount, pk, key)
            except Exception as error:  # noqa: BLE001 a column that is not migrated, say
                self._found.leave(table, Why.UNREAD, f"{table} {pk} cannot be loaded: {error}")
                continue
            if upload is not None:
                self._found.stuck.append(f"{table} {record._pk} {mount.name}")
                if self._repair and mount.background is not None:
                    group = attacher_of(record, mount).uploader_of(upload).fair_by()
                    mount.background.enqueue(record, mount.name, upload, group)


def _is_much(some: int, files: int) -> bool:
    return some > BRAKE_FILES and some * BRAKE_ONE_IN > files


def _still_waiting(mount: Any, pk: Any, key: str) -> tuple[Any, Any]:
    """A record as a job will find it, and what of it still waits under that key, if anything
    does."""
    primary_key = mount.model._meta.primary_key
    with guarded(mount.model._meta.database):
        found = select(mount.model).where(primary_key == primary_key.python_value(pk))
        record = found.get_or_none()
    if record is None or getattr(record, f"{mount.name}_state", None) == "failed":
        return record, None
    unprocessed = [stored for stored in mount.stored_files(record) if stored.unprocessed]
    items = [*mount.pending(record), *unprocessed]
    return record, next((item for item in items if item.key == key), None)
