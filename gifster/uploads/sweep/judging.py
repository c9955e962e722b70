"""Which of the files that no row names may go, and why the others may not."""

from functools import partial
from typing import Any

from gifster.uploads.column import mounts_of
from gifster.uploads.config import config
from gifster.uploads.mount import is_beside_outbox, mounted_models
from gifster.uploads.rows import real_database
from gifster.uploads.storage.shapes import cache_dir, store_dir_and_folder
from gifster.uploads.sweep.findings import Findings, Why
from gifster.uploads.sweep.ledger import Ledger
from gifster.uploads.sweep.owners import Owner
from gifster.uploads.sweep.places import Place, Places, taken
from gifster.uploads.sweep.reading import NotRead, Rows, guarded, read_elsewhere, read_jobs

IMPORT = "import the modules of all models before the sweep"


class Judgement:
    """The steps of a sweep up to the moment at which something is done.

    Parameters:
      ledger: empty.
      found: gets what is left alone.
      before: what was written later (seconds since the epoch) is nobody's business yet.
    """

    def __init__(self, ledger: Ledger, found: Findings, before: float) -> None:
        self.ledger, self.found, self.before = ledger, found, before
        self.places = Places(config.storages)
        self.owners = [Owner(mount) for model in mounted_models() for mount in mounts_of(model)]
        #: Why no cached file, and why no file at all, may go.
        self._caches_closed = ""
        self._all_closed = ""
        #: The full names of what symbolic links lead to.
        self._linked: list[str] = []

    @property
    def jobs_unread(self) -> bool:
        """Whether nothing is known of what jobs are about."""
        return bool(self._all_closed)

    def list_storages(self) -> None:
        """Note what there is."""
        for place in self.places:
            if place.listing is None:
                reason = "it has no walk(), so it cannot be listed"
                self.found.leave(place.name, Why.UNKNOWN, reason)
                continue
            try:
                options = taken(place.listing.walk, on_link=partial(self._note_link, place))
                files = place.listing.walk(**options)
                place.files = self.ledger.add_listing(
                    place.number, place.prefix, files, self.before
                )
            except Exception as error:  # noqa: BLE001 a storage may be anybody's
                self.ledger.forget_listing(place.number)
                place.files = None
                self.found.leave(place.name, Why.UNREAD, f"{error}; nothing is known of its files")

    def _note_link(self, place: Place, link: str, target: str) -> None:
        self._linked.append(target)
        reason = "a symbolic link; what it leads to is not looked at, and stays"
        self.found.leave(place.name, Why.FOREIGN, reason, link)

    def read_database(self) -> None:
        """Note what rows and jobs name."""
        by_model: dict[Any, dict[int, Owner]] = {}
        for number, owner in enumerate(self.owners):
            by_model.setdefault(owner.mount.model, {})[number] = owner
        for model, owners in by_model.items():
            self._read_model(model, owners)
        known = {(owner.table, owner.mount.name) for owner in self.owners}
        try:
            strangers = read_jobs(self.ledger, known)
        except NotRead as error:
            self._all_closed = f"the outbox could not be read: {error}"
            self.found.leave("outbox", Why.UNREAD, str(error))
            strangers = []
        self._see_to_the_caches(strangers)
        for name in sorted({name for owner in self.owners for name in owner.named}):
            if self.places.of(name) is None:
                reason = "configure() was given no storage of this name, but rows name it"
                self.found.leave(name, Why.UNKNOWN, reason)
        self.ledger.sort()

    def _see_to_the_caches(self, strangers: list[str]) -> None:
        """Leave them alone if a file may wait for a model that is not known, or not read."""
        if strangers:
            columns = ", ".join(strangers)
            self._caches_closed = f"jobs wait for {columns}, which no model here has; {IMPORT}"
        elif not any(owner.unread == "" for owner in self.owners):
            self._caches_closed = f"this process knows no model with uploads; {IMPORT}"
        for owner in self.owners:
            if owner.unread and owner.hides_cache:
                self._caches_closed = f"{owner} may wait for it: {owner.unread}"

    def _read_model(self, model: Any, owners: dict[int, Owner]) -> None:
        table, hides_cache, unread = model._meta.table_name, True, ""
        if not is_beside_outbox(model):
            # What waits for it is named by its jobs, which are in our outbox all the same.
            unread, hides_cache = f"the table {table} is in another database than the outbox", False
        else:
            try:
                Rows(owners, self.places, self.ledger).read()
            except NotRead as reason:
                unread = f"the table {table} could not be read: {reason}"
                if not self._is_there(model):
                    # Nothing is amiss: a model need not have a table everywhere.
                    unread, hides_cache = f"there is no table {table}", False
                else:
                    self.found.leave(table, Why.UNREAD, str(reason))
        for owner in owners.values():
            owner.unread = unread
            owner.hides_cache = hides_cache and owner.mount.companion("tmp") is not None
            owner.learn()

    @staticmethod
    def _is_there(model: Any) -> bool:
        database = real_database(model._meta.database)
        schema, name = model._meta.schema, model._meta.table_name
        with guarded(database):
            views = [view.name for view in database.get_views(schema)]
            return database.table_exists(name, schema) or name in views

    def find_suspects(self) -> None:
        """Note which files may go, and say of the others why not."""
        any_found = False
        for place in self.places:
            if place.files is None:
                continue
            for name in self.ledger.unnamed(place.number):
                any_found |= self._judge(place, name)
        if any_found:
            read_elsewhere(self.ledger, [o for o in self.owners if o.unread == ""])
            places = list(self.places)
            self.ledger.drop_suspects(lambda number, name: self._may_go(places[number], name))

    def _may_go(self, place: Place, name: str) -> bool:
        """Whether nothing but rows, of which that is known, names a file or may come to."""
        key = place.key(name)
        stored = store_dir_and_folder(key)
        return not (
            self.ledger.is_in_use(key)
            or (stored is not None and self.ledger.is_awaited(stored[1]))
            or any(name == target or name.startswith(f"{target}/") for target in self._linked)
        )

    def _judge(self, place: Place, name: str) -> bool:
        if not self._may_go(place, name):
            return False
        key = place.key(name)
        beginning, stored = cache_dir(key), store_dir_and_folder(key)
        if beginning is not None:
            why, reason = self._cached(place, beginning)
        elif stored is not None:
            why, reason = self._stored(place, stored[0])
        else:
            why, reason = Why.FOREIGN, "not a key that gifster.uploads makes"
        if why is not None:
            self.found.leave(place.name, why, reason, key)
            return False
        self.ledger.add("suspects", place.number, name, beginning is not None)
        return True

    def _cached(self, place: Place, beginning: str) -> tuple[Why | None, str]:
        closed = self._all_closed or self._caches_closed
        if closed:
            return Why.UNKNOWN, f"a cached file may wait for a model that is not here: {closed}"
        caches = (owner.cache for owner in self.owners)
        if not any(self.places.of(n) is place and start == beginning for n, start in caches):
            return Why.UNKNOWN, f"no model that this process knows caches uploads there; {IMPORT}"
        return None, ""

    def _stored(self, place: Place, store_dir: str) -> tuple[Why | None, str]:
        if self._all_closed:
            return Why.UNKNOWN, self._all_closed
        here = [o for o in self.owners if any(self.places.of(n) is place for n in o.storages)]
        owners = [owner for owner in here if owner.may_own(store_dir)]
        unclear = sorted({owner.unclear for owner in here if owner.unclear})
        if not owners:
            reasons = [f"no model that this process knows has keys like these; {IMPORT}", *unclear]
            return Why.UNKNOWN, "; ".join(reasons)
        for owner in [*owners, *(owner for owner in here if owner.unclear)]:
            if owner.unread:
                return Why.UNKNOWN, owner.unread
        return None, ""
