"""A random walk by Hypothesis through the states of an upload. The upload is assigned, replaced,
removed and deleted; its jobs are delivered, delivered again, superseded, and cut off at any step.

A step is an operation of a storage or the database (`fate.py`). A crash is an exception at a step,
after which that "process" can neither clean up nor commit. A job is superseded when something else
happens between two of its steps. Real processes do the same in `test_chaos.py` and `test_races.py`.
"""

import hashlib
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import dramatiq
import hypothesis
import pytest
from dramatiq.brokers.stub import StubBroker
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gifster import jobs
from gifster.jobs import Job
from gifster.uploads import Image, UploadError, version
from gifster.uploads.sweep import sweep
from gifster.uploads.testing import without_sandbox
from tests import images
from tests.machine import examples
from tests.uploads.fate import Crashed, Database, Fate, Folder
from tests.uploads.framework import Application, AvatarUploader, Person, db

PICTURES = [images.still("PNG", (size, 20)) for size in (21, 22, 23, 24)]
DIGESTS = [hashlib.sha256(picture).hexdigest() for picture in PICTURES]


def waiting_jobs() -> list[Job]:
    """The jobs that are neither done nor dead, oldest first."""
    return list(Job.select().where(Job.failed_at.is_null()).order_by(Job.created_at))


@version(later=True)
def large(uploader: Any, image: Image) -> Image:
    """A `later` version: it is made when the row already shows the others."""
    return image.fit(200, 200)


class Uploads(RuleBasedStateMachine):
    """One person's avatar, and what it may be by now."""

    def __init__(self) -> None:
        super().__init__()
        self.fate = Fate()
        self.before = dramatiq.get_broker()
        dramatiq.set_broker(StubBroker())
        self.patches = ExitStack()
        # These thousands of pictures are trusted, so they need no sandbox process.
        self.patches.enter_context(without_sandbox())
        self.patches.enter_context(patch.object(AvatarUploader, "large", large, create=True))
        self.folder = Path(tempfile.mkdtemp(prefix="gifster-states-"))
        database = Database(
            self.folder / "db", pragmas={"synchronous": "off", "journal_mode": "wal"}
        )
        database.fate = self.fate
        database.connect()
        self.app = Application(self.folder, database)
        self.app.cache = Folder(self.app.cache_folder, "", self.fate)
        self.app.store = Folder(self.app.store_folder, "/files", self.fate)
        self.app.configure()
        self._create_person()
        self.delivered: list[tuple[str, list[Any]]] = []

    def _create_person(self) -> None:
        self.pk = Person.create(name="Ann").id
        #: The numbers of the pictures that the avatar may be by now; None means no picture. There
        #: are several after a crash, when the last change may or may not have been committed.
        self.may_be: set[int | None] = {None}
        #: Whether the last upload may have failed: its cached file was lost, or its job given up.
        self.may_have_failed = False
        #: The person as it was loaded some time ago.
        self.stale = Person.get_by_id(self.pk)

    def teardown(self) -> None:
        try:
            self._settle()
        finally:
            db.obj.close()
            dramatiq.set_broker(self.before)
            self.patches.close()
            shutil.rmtree(self.folder)

    # The steps of people.

    def _change(self, to: int | None, change: Callable[[], Any]) -> None:
        """Make a change that may crash, or be refused by a full disk."""
        before = self.app.stored, self.app.cached
        try:
            change()
        except Crashed:
            self._reconnect()
            self.may_be = self.may_be | {to}
        except OSError:
            assert (self.app.stored, self.app.cached) == before
        else:
            self.may_be, self.may_have_failed = {to}, False

    def _loaded(self, *, stale: bool) -> Any:
        """The person, loaded now or some time ago."""
        now = Person.get_by_id(self.pk)
        person, self.stale = (self.stale, now) if stale else (now, self.stale)
        return person

    def _assign(self, person: Any, number: int, *, at_once: bool = False) -> None:
        person.process_avatar_upload = at_once
        person.avatar = PICTURES[number]
        try:
            person.save()
        except OSError:
            # The file is kept, so that save() can be retried. Here nobody does.
            Person.avatar.attacher(person).uploader.assigned.delete()
            raise

    def _remove(self, person: Any) -> None:
        person.remove_avatar = True
        person.save()

    @rule(
        what=st.sampled_from(["assign"] * 4 + ["assign at once", "remove", "delete"]),
        number=st.integers(0, 3),
        trouble=st.sampled_from(["none"] * 3 + ["crash", "full disk"]),
        steps=st.integers(0, 20),
        stale=st.booleans(),
    )
    def change(self, what: str, number: int, trouble: str, steps: int, stale: bool) -> None:
        person = self._loaded(stale=stale)
        with self._in_trouble(trouble, steps):
            match what:
                case "assign":
                    self._change(number, lambda: self._assign(person, number))
                case "assign at once":
                    self._change(number, lambda: self._assign(person, number, at_once=True))
                case "remove":
                    self._change(None, lambda: self._remove(person))
                case _ if trouble == "none":
                    person.delete_instance()
                    self._create_person()

    @rule()
    def load(self) -> None:
        self.stale = Person.get_by_id(self.pk)

    @rule()
    def save_what_was_loaded_long_ago(self) -> None:
        self.stale.name = "Anna"
        self.stale.save()

    # The steps of workers.

    @contextmanager
    def _in_trouble(self, trouble: str, steps: int) -> Iterator[None]:
        if trouble == "none":
            yield
            return
        event = self.fate.crash if trouble == "crash" else self.fate.full_disk
        with self.fate.after(steps, event):
            yield

    def _deliver(self, job: Job) -> None:
        self.delivered.append((job.actor, job.arguments))
        self.app.deliver(job)
        Job.delete().where(Job.id == job.id).execute()

    def _next_job(self, number: int, *, newest: bool) -> Job:
        """A waiting job; if there is none, a new upload enqueues one."""
        if not waiting_jobs():
            person = self._loaded(stale=False)
            self._change(number, lambda: self._assign(person, number))
        return waiting_jobs()[-1 if newest else 0]

    def _damage(self, what: str) -> None:
        """Lose or damage the files in the cache."""
        for name in self.app.cached:
            path = self.app.cache_folder / name
            path.unlink() if what == "lose" else path.write_bytes(b"<html>")
        self.may_have_failed |= Person.get_by_id(self.pk).avatar_tmp is not None

    @rule(
        number=st.integers(0, 3),
        newest=st.booleans(),
        damage=st.sampled_from(["none"] * 4 + ["lose", "damage"]),
    )
    def deliver(self, number: int, newest: bool, damage: str) -> None:
        job = self._next_job(number, newest=newest)
        if damage != "none":
            self._damage(damage)
        self._deliver(job)

    @rule(
        number=st.integers(0, 3),
        newest=st.booleans(),
        trouble=st.sampled_from(["crash", "full disk"]),
        steps=st.integers(0, 30),
    )
    def deliver_in_trouble(self, number: int, newest: bool, trouble: str, steps: int) -> None:
        job = self._next_job(number, newest=newest)
        with self._in_trouble(trouble, steps):
            try:
                self._deliver(job)
            except Crashed:
                self._reconnect()
            except OSError:
                # The retry writes the same files, unless the upload has been superseded by then.
                self.fate.untidy = True

    @rule(
        number=st.integers(0, 3),
        newest=st.booleans(),
        damaged=st.sampled_from([False, False, True]),
        steps=st.integers(0, 30),
        what=st.sampled_from(
            ["assign", "assign", "remove", "delete", "the same", "another", "sweep"]
        ),
        stale=st.booleans(),
    )
    def deliver_and_be_superseded(
        self, number: int, newest: bool, damaged: bool, steps: int, what: str, stale: bool
    ) -> None:
        job = self._next_job(number, newest=newest)
        if damaged:
            self._damage("damage")

        def meanwhile(where: str) -> bool:
            if db.obj.connection().in_transaction:  # Others would wait for it.
                return False
            match what:
                case "the same":
                    self.app.deliver(job)
                case "another":
                    for other in waiting_jobs()[1:2]:
                        self._deliver(other)
                case "sweep":
                    self._sweep()
                case _:
                    self.change(what, 3, "none", 0, stale)
            return True

        with self.fate.after(steps, meanwhile):
            self._deliver(job)

    @rule(
        what=st.sampled_from(["again", "give up", "retry", "sweep", "settle"]),
        place=st.integers(0, 5),
    )
    def whatever_else(self, what: str, place: int) -> None:
        match what:
            case "again":
                for actor, arguments in self.delivered[-1 - place :][:1]:
                    self.app.deliver(Job(actor=actor, arguments=arguments))
            case "give up":
                for job in [job for job in waiting_jobs() if job.actor == "store_asset"][:1]:
                    self._give_up(job)
            case "retry":
                self._retry()
            case "sweep":
                self._sweep()
            case _:
                self._settle()

    def _sweep(self) -> None:
        """Sweep without a minimum age, but leave alone the files that are still being written."""
        jobs_before = {job.id for job in Job.select()}
        module = sys.modules[sweep.__module__]
        with (
            patch.object(module, "_work_folders", lambda *_: iter(())),
            patch.object(Folder, "half_written", lambda *_: []),
        ):
            sweep(repair=True, min_age_s=-1)
        assert {job.id for job in Job.select()} == jobs_before  # Nothing had lost its job.

    def _give_up(self, job: Job) -> None:
        """Mark a job dead, as `OutboxRows` does when its retries have run out."""
        waiting = Person.get_by_id(self.pk).avatar_tmp
        self.may_have_failed |= waiting is not None and waiting.key in job.arguments
        Job.update(failed_at=1.0, leased_by=None).where(Job.id == job.id).execute()
        actor = dramatiq.get_broker().get_actor(job.actor)
        actor.options["on_dead"](OSError("the disk is full"), *job.arguments)

    def _retry(self) -> None:
        for job in jobs.find(jobs.State.DEAD):
            jobs.retry(job.id)

    # The invariants.

    @invariant()
    def a_ready_upload_is_complete(self) -> None:
        person = Person.get_by_id(self.pk)
        stored = person.avatar.stored
        if person.avatar_state == "ready":
            assert stored is not None
            assert person.avatar_tmp is None
            assert set(stored.versions) == {"thumb", "large"}
        if stored is not None:
            content = (self.app.store_folder / stored.key).read_bytes()
            assert hashlib.sha256(content).hexdigest() == stored.sha256
            for _, key in stored.files:
                assert (self.app.store_folder / key).stat().st_size > 0

    @invariant()
    def the_settled_avatar_is_the_one_asked_for(self) -> None:
        person = Person.get_by_id(self.pk)
        waits = person.avatar_state in ("queued", "processing")
        assert person.avatar_processing == waits
        if person.avatar_state == "failed":
            assert self.may_have_failed
        else:
            assert waits == (person.avatar_tmp is not None)
        if person.avatar_tmp is None and person.avatar_state != "failed":
            now = person.avatar.stored
            assert (None if now is None else DIGESTS.index(now.sha256)) in self.may_be

    @invariant()
    def a_waiting_upload_has_a_job(self) -> None:
        person = Person.get_by_id(self.pk)
        if person.avatar_tmp is not None:
            named = {str(argument) for job in Job.select() for argument in job.arguments}
            assert person.avatar_tmp.key in named

    def _settle(self) -> None:
        self._everything_is_done()
        self._nothing_is_left_over()
        self.fate.untidy = False

    def _everything_is_done(self) -> None:
        for _ in range(20):
            self._retry()
            waiting = waiting_jobs()
            for job in waiting:
                with suppress(UploadError):
                    self._deliver(job)
            if not waiting:
                break
        assert not waiting_jobs()
        if self.fate.untidy:
            sweep(repair=True, min_age_s=-1)
        assert Person.get_by_id(self.pk).avatar_tmp is None
        self.the_settled_avatar_is_the_one_asked_for()

    def _nothing_is_left_over(self) -> None:
        stored = Person.get_by_id(self.pk).avatar.stored
        named = [] if stored is None else sorted(key for _, key in stored.files)
        assert self.app.stored == named
        assert self.app.cached == []
        found = sweep(repair=False, min_age_s=-1)
        assert not any(found.counts().values()), found

    def _reconnect(self) -> None:
        """A dead process has lost its connection, and what it had not committed is gone."""
        self.fate.dead = False
        db.obj.close()
        db.obj.connect()


Uploads.TestCase.settings = hypothesis.settings(
    max_examples=examples(6, of=100),
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[hypothesis.Phase.generate, hypothesis.Phase.shrink],
    report_multiple_bugs=False,
    suppress_health_check=list(hypothesis.HealthCheck),
)
TestUploads = pytest.mark.long(Uploads.TestCase)
