"""Decides which of the files without a row may be deleted, and why the others may not."""

from collections.abc import Collection
from functools import cached_property, partial

import peewee

from gifster.uploads.columns.rows import real_database
from gifster.uploads.config import config
from gifster.uploads.files.keys import table_of
from gifster.uploads.mount import all_mounts, is_beside_outbox
from gifster.uploads.storage.base import clock_of, supported_options
from gifster.uploads.storage.shapes import beside, cache_dir, store_dir_and_folder
from gifster.uploads.sweep.findings import Findings, Why
from gifster.uploads.sweep.ledger import Ledger, Sieve
from gifster.uploads.sweep.owners import Owner
from gifster.uploads.sweep.places import Place, Places
from gifster.uploads.sweep.reading import (
    NotRead,
    Rows,
    guarded,
    read_elsewhere,
    read_jobs,
    read_unfinished,
)

IMPORT = "import the modules of all models before the sweep"


class Judgement:
    """The steps of a sweep before it deletes anything.

    Parameters:
      ledger: an empty one.
      found: gets the files that are left alone.
      min_age_s: younger files are left alone (seconds).
    """

    def __init__(self, ledger: Ledger, found: Findings, min_age_s: float) -> None:
        self.ledger, self.found, self._min_age_s = ledger, found, min_age_s
        self.places = Places(config.storages)
        self.owners = [Owner(mount) for mount in all_mounts()]
        #: Why no cached file, and why no file at all, may be deleted; empty if they may.
        self._caches_kept = ""
        self._all_kept = ""
        #: The full names of the targets of symbolic links.
        self._link_targets: list[str] = []

    @property
    def jobs_unread(self) -> bool:
        """Whether the jobs could not be read."""
        return bool(self._all_kept)

    def list_storages(self) -> None:
        """Note the files of all storages."""
        for place in self.places:
            if place.listing is None:
                reason = "it has no walk(), so it cannot be listed"
                self.found.leave(place.name, Why.UNKNOWN, reason)
                continue
            try:
                place.before = clock_of(place.storage) - self._min_age_s
                options = supported_options(
                    place.listing.walk, on_link=partial(self._note_link, place)
                )
                files = place.listing.walk(**options)
                place.files = self.ledger.add_listing(
                    place.number, place.prefix, files, place.before
                )
            except Exception as error:  # noqa: BLE001 a storage may be anybody's
                self.ledger.forget_listing(place.number)
                place.files = None
                self.found.leave(place.name, Why.UNREAD, f"{error}; its files are unknown")

    def _note_link(self, place: Place, link: str, target: str) -> None:
        self._link_targets.append(target)
        reason = "a symbolic link; its target is not looked at, and stays"
        self.found.leave(place.name, Why.FOREIGN, reason, link)

    def read_database(self) -> None:
        """Note the keys that rows and jobs name."""
        for model, owners in self._by_model.items():
            self._read_model(model, owners)
        known = {(owner.table, owner.mount.name) for owner in self.owners}
        try:
            unknown = read_jobs(self.ledger, known)
        except NotRead as error:
            self._all_kept = f"the outbox could not be read: {error}"
            self.found.leave("outbox", Why.UNREAD, str(error))
            unknown = []
        self._decide_about_caches(unknown)
        for name in sorted({name for owner in self.owners for name in owner.named}):
            if self.places.of(name) is None:
                reason = "configure() was given no storage of this name, but rows name it"
                self.found.leave(name, Why.UNKNOWN, reason)
        self.ledger.sort()

    def still_named(self, files: Collection[tuple[int, str]]) -> set[tuple[int, str]]:
        """Those of some files that rows name now, while others upload, replace and delete.

        Parameters:
          files: the number of a storage, and the full name of a file.
        """
        sieve = Sieve(files)
        for model, owners in self._by_model.items():
            if is_beside_outbox(model):
                try:
                    Rows(owners, self.places, sieve).read()
                except NotRead as reason:
                    if not any(owner.unread for owner in owners.values()):  # else it is reported
                        self.found.leave(table_of(model), Why.UNREAD, str(reason))
        return sieve.found

    @cached_property
    def _by_model(self) -> dict[type[peewee.Model], dict[int, Owner]]:
        by_model: dict[type[peewee.Model], dict[int, Owner]] = {}
        for number, owner in enumerate(self.owners):
            by_model.setdefault(owner.mount.model, {})[number] = owner
        return by_model

    def _decide_about_caches(self, unknown: list[str]) -> None:
        """Keep all cached files if one may wait for a model that is unknown, or whose table was not
        read.

        Parameters:
          unknown: columns that jobs name, and that no model here has.
        """
        if unknown:
            columns = ", ".join(unknown)
            self._caches_kept = f"jobs wait for {columns}, which no model here has; {IMPORT}"
        elif not any(owner.unread == "" for owner in self.owners):
            self._caches_kept = f"this process knows no model with uploads; {IMPORT}"
        for owner in self.owners:
            if owner.unread and owner.hides_cache:
                self._caches_kept = f"{owner} may wait for it: {owner.unread}"

    def _read_model(self, model: type[peewee.Model], owners: dict[int, Owner]) -> None:
        table, hides_cache, unread = table_of(model), True, ""
        if not is_beside_outbox(model):
            # Its jobs are in our outbox all the same, and name its cached files.
            unread, hides_cache = f"the table {table} is in another database than the outbox", False
        else:
            try:
                Rows(owners, self.places, self.ledger).read()
            except NotRead as reason:
                unread = f"the table {table} could not be read: {reason}"
                if not self._has_table(model):
                    # That is no fault: a model need not have a table everywhere.
                    unread, hides_cache = f"there is no table {table}", False
                else:
                    self.found.leave(table, Why.UNREAD, str(reason))
        for owner in owners.values():
            owner.unread = unread
            owner.hides_cache = hides_cache and owner.mount.companion("tmp") is not None
            owner.find_own_dirs()

    @staticmethod
    def _has_table(model: type[peewee.Model]) -> bool:
        database = real_database(model._meta.database)
        schema, name = model._meta.schema, model._meta.table_name
        with guarded(database):
            views = [view.name for view in database.get_views(schema)]
            return database.table_exists(name, schema) or name in views

    def find_suspects(self) -> None:
        """Note the files that may be deleted; report why the others may not."""
        any_found = False
        for place in self.places:
            if place.files is None:
                continue
            for name in self.ledger.unnamed(place.number):
                any_found |= self._judge(place, name)
        if any_found:
            places = list(self.places)
            try:
                read_elsewhere(self.ledger, [o for o in self.owners if o.unread == ""])
                read_unfinished(self.ledger)
            except NotRead as error:
                self.found.leave("database", Why.UNREAD, f"{error}; no file is deleted")
                self.ledger.drop_suspects(lambda number, name: False)
                return
            self.ledger.drop_suspects(lambda number, name: self._may_go(places[number], name))

    def _may_go(self, place: Place, name: str) -> bool:
        """Whether no job, link or unknown table names a file or the original of a derivation, and
        no job may still write it."""
        key = place.key(name)
        stored, original = store_dir_and_folder(key), beside(key)
        return not (
            self.ledger.is_in_use(key)
            or (original is not None and self.ledger.names_some(place.prefix + original))
            or (stored is not None and self.ledger.is_awaited(stored[1]))
            or any(name == target or name.startswith(f"{target}/") for target in self._link_targets)
        )

    def _judge(self, place: Place, name: str) -> bool:
        """Note a file without a row as a suspect, or report why it stays."""
        if not self._may_go(place, name):
            return False
        key = place.key(name)
        directory, stored = cache_dir(key), store_dir_and_folder(key)
        if directory is not None:
            why, reason = self._judge_cached(place, directory)
        elif stored is not None:
            why, reason = self._judge_stored(place, stored[0])
        else:
            why, reason = Why.FOREIGN, "not a key that gifster.uploads makes"
        if why is not None:
            self.found.leave(place.name, why, reason, key)
            return False
        self.ledger.add("suspects", place.number, name, directory is not None)
        return True

    def _judge_cached(self, place: Place, directory: str) -> tuple[Why | None, str]:
        kept = self._all_kept or self._caches_kept
        if kept:
            return Why.UNKNOWN, f"a cached file may wait for a model that is not here: {kept}"
        caches = (owner.cache for owner in self.owners)
        if not any(self.places.of(name) is place and own == directory for name, own in caches):
            return Why.UNKNOWN, f"no model that this process knows caches uploads there; {IMPORT}"
        return None, ""

    def _judge_stored(self, place: Place, store_dir: str) -> tuple[Why | None, str]:
        if self._all_kept:
            return Why.UNKNOWN, self._all_kept
        here = [o for o in self.owners if any(self.places.of(n) is place for n in o.storages)]
        owners = [owner for owner in here if owner.may_own(store_dir)]
        unclear = sorted({owner.unclear for owner in here if owner.unclear})
        if not owners:
            reasons = [f"no model that this process knows has keys like these; {IMPORT}", *unclear]
            return Why.UNKNOWN, "; ".join(reasons)
        for owner in [*owners, *(owner for owner in here if owner.unclear)]:
            if owner.unread:
                return Why.UNKNOWN, owner.unread
            if owner.mount.uploader.keep_files:
                return Why.KEPT, f"{owner} has keep_files, so it may be a file that was replaced"
        return None, ""
