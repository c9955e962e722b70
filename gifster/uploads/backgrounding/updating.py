"""Brings the versions of stored files up to date with the steps that they begin with
(`process(original=False)`), after `update_versions()`.

Whoever changes what these steps read enqueues a job in the same transaction, and each job makes the
versions that the row asks for when it begins. Before the row names them, the job checks under the
row's lock that it still asks for these. If not, it begins anew. So the last change wins, and a job
that comes late finds nothing to do.
"""

from gifster.jobs import transaction
from gifster.uploads.backgrounding.promotion import failure_of
from gifster.uploads.backgrounding.recreate import Recreation
from gifster.uploads.columns.rows import Record
from gifster.uploads.columns.states import FAILED
from gifster.uploads.errors import UploadError
from gifster.uploads.files.stored import StoredFile


class Updating(Recreation):
    """Updates the versions of one stored upload; `key` is its original's key."""

    def update_versions(self) -> None:
        """Make the versions again, unless they begin with the present steps. Several calls do no
        harm, even at the same time.

        If they cannot be made, the row says why, and keeps those that it has.

        Raises:
          Exception: a retry may succeed.
        """
        while not self._is_done():
            record = self.record()
            stored = self._present(record)
            if record is None or stored is None:
                self.log_superseded(record)
                return
            tried = self._steps(record, stored)
            try:
                self._make(record, stored, steps=False, names=None)
            except UploadError as error:
                self.give_up(error, tried)
                return

    def give_up(self, error: BaseException, tried: str | None = None) -> None:
        """Mark the record failed, unless it does not wait for these versions any more.

        Parameters:
          tried: the steps that failed; None is whatever the row asks for now.
        """
        with transaction(self.model._meta.database):
            row = self.locked()
            stored = self._present(row)
            if stored is None or not self.settled(row):
                return
            if tried in (None, self._steps(row, stored)):
                failure = failure_of(error, "The versions could not be made.")
                self.update(self.mount.values(processing=False, state=FAILED, error=failure))

    def _is_wanted(self, row: Record, present: StoredFile, made: StoredFile) -> bool:
        # If another job was quicker, its URLs stay.
        return present.steps != made.steps and super()._is_wanted(row, present, made)

    def _is_done(self) -> bool:
        """Whether the row names versions that begin with its steps; it does not wait for others
        then."""
        with transaction(self.model._meta.database):
            row = self.locked()
            stored = self._present(row)
            done = stored is not None and stored.steps == self._steps(row, stored)
            if done:
                self.update(self.settled(row))
        return done
