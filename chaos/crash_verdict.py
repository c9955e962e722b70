"""What must be true once everything was mended: what the rows name is there, nothing else is, and
nothing waits."""

import hashlib
from collections.abc import Iterator
from typing import Any

from chaos.crash_models import EDITED, HEIGHT, State, Subject, first_state
from chaos.crash_work import AGE_S
from gifster.jobs import Job
from gifster.uploads.attaching.storing import steps_of
from gifster.uploads.config import storage
from gifster.uploads.resumable.table import ResumableUpload
from gifster.uploads.sweep import sweep as sweep_uploads
from tests.machine import files_below

VERSIONS = {"small": 60, "large": 100}


def state_of(subject: Subject) -> State:
    """What the record has."""
    record = subject.record()
    if record is None:
        return None
    widths = tuple(stored.width for stored in subject.model.file.stored_files(record))
    return widths, bool(record.wide)


def faults(
    subject: Subject, allowed: list[State], *, beside: bool, may_fail: bool
) -> Iterator[str]:
    """What is wrong, a line for each.

    Parameters:
      allowed: the states of which the record has to be in one.
      beside: whether there was another record, to which nothing was done.
      may_fail: whether an upload may have failed that has replaced nothing.
    """
    if (state := state_of(subject)) not in allowed:
        yield f"the record has {state}, not {' or '.join(map(str, allowed))}"
    others = list(subject.model.select().where(subject.model.beside))
    if len(others) != beside:
        yield f"{len(others)} records are beside it"
    for other in others:
        found = tuple(stored.width for stored in subject.model.file.stored_files(other))
        if (found, False) != first_state(subject.kind):
            yield f"the record beside it has {found}"
    named: dict[str, set[str]] = {name: set() for name in subject.app.places}
    for record in subject.model.select():
        yield from _faults_of(record, subject.model.file, named, may_fail)
    for name, keys in named.items():
        for number, found in enumerate(subject.app.files(name), 1):
            where = f"{name} {number}"
            yield from [f"left behind in {where}: {key}" for key in sorted(found - keys)]
            yield from [f"missing in {where}: {key}" for key in sorted(keys - found)]
    yield from [f"left behind in tmp: {name}" for name in files_below(subject.app.folder / "tmp")]
    if uploads := ResumableUpload.select().count():
        yield f"{uploads} resumable uploads are left"
    for job in Job.select():
        yield f"a job is left: {job.actor}{job.arguments} failed_at={job.failed_at} {job.error}"
    found = sweep_uploads(repair=False, min_age_s=-AGE_S)
    if any(found.counts().values()):
        yield f"the sweep finds {found.counts()}"


def _faults_of(
    record: Any, mount: Any, named: dict[str, set[str]], may_fail: bool
) -> Iterator[str]:
    """What is wrong with a record. Adds the files that it names to `named`."""
    files = mount.stored_files(record)
    if mount.pending(record) or getattr(record, "file_processing", False):
        yield "the record waits"
    failed = record.file_state == "failed" and record.file_error is not None
    right = ("ready",) if files else (None, "ready")
    if (record.file_error or record.file_state not in right) and not (failed and may_fail):
        yield f"the record is {record.file_state}, error {record.file_error}"
    for stored in files:
        for name, key in stored.files:
            named[name].add(key)
        if stored.versions.keys() != VERSIONS.keys():
            yield f"its versions are {sorted(stored.versions)}"
        if steps_of(mount.attacher(record).uploader_of(stored), stored) != stored.steps:
            yield f"its versions begin with {stored.steps!r}"
        base = EDITED if record.wide else stored.width
        for version in (stored, *stored.versions.values()):
            yield from _content(version)
        for name, version in stored.versions.items():
            most = VERSIONS.get(name, 0)
            wide = round(base * min(most / base, most / HEIGHT, 1))
            if abs(version.width - wide) > 1:
                yield f"{name} is {version.width} pixels wide, not {wide}"


def _content(file: Any) -> Iterator[str]:
    try:
        with storage(file.storage).open(file.key) as opened:
            content = opened.read()
    except FileNotFoundError:
        yield f"lost: {file.key}"
        return
    if hashlib.sha256(content).hexdigest() != file.sha256:
        yield f"its content has changed: {file.key}"
