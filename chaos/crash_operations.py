"""What is done to a record when the process dies. To add one, add a line to `OPERATIONS`."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from chaos.crash_models import (
    AT_ONCE,
    BROKEN,
    EDITED,
    GIFS,
    HOW,
    STORED_LATER,
    Kind,
    State,
    Subject,
    first_state,
    width,
)
from chaos.crash_work import work
from gifster.jobs import transaction
from gifster.uploads import endpoints
from gifster.uploads.resumable import rows
from gifster.uploads.resumable.table import ResumableUpload
from tests.tus import Tus
from tests.uploads.calling import Caller

Act = Callable[[Subject], object]


# What was done before.


def nothing(subject: Subject) -> None:
    """There is no record."""


def waiting(subject: Subject) -> None:
    """A record whose upload waits for its job, if its kind has one."""
    subject.create()


def stored(subject: Subject) -> None:
    """A record whose upload is stored."""
    subject.create()
    work()


def crowded(subject: Subject) -> None:
    """A record whose upload waits, and another one behind it."""
    subject.create()
    subject.create(beside=True)


def shown_again(subject: Subject) -> None:
    """A form that is shown again, with the cache id of its upload."""
    record = subject.model()
    record.file = subject.gifs(0, 1)
    subject.notes.write_text(json.dumps(record.file_cache))


def begun(subject: Subject) -> None:
    """A resumable upload, of which the first bytes have come."""
    subject.notes.write_text(_tus(subject).begun(len(GIFS[0]), GIFS[0][:100]))


# What is done.


def create(subject: Subject) -> None:
    if subject.record() is None:
        subject.create()


def only_work(subject: Subject) -> None:
    """All operations work afterwards."""


def submit(subject: Subject) -> None:
    if subject.record() is None:
        record = subject.model()
        record.file_cache = json.loads(subject.notes.read_text())
        record.save()


def replace(subject: Subject) -> None:
    if record := subject.record():
        record.file = [*list(record.file)[1:], GIFS[2]] if subject.kind.many else GIFS[2]
        record.save()


def replace_twice(subject: Subject) -> None:
    if record := subject.record():
        with transaction(subject.app.database):
            record.file = subject.gifs(3, 4)
            record.save()
            record.file = subject.gifs(4, 5)
            record.save()


def replace_by_broken(subject: Subject) -> None:
    """The upload is accepted, and its job finds that it cannot be processed."""
    if record := subject.record():
        record.file = GIFS[BROKEN]
        record.save()


def remove(subject: Subject) -> None:
    if record := subject.record():
        record.remove_file = True
        record.save()


def delete(subject: Subject) -> None:
    if record := subject.record():
        record.delete_instance()


def delete_query(subject: Subject) -> None:
    subject.model.delete().where(~subject.model.beside).execute()


def recreate(subject: Subject) -> None:
    if record := subject.record():
        for file in subject.files(record):
            file.recreate_versions()


def recreate_one(subject: Subject) -> None:
    if record := subject.record():
        for file in subject.files(record):
            file.recreate_versions("small")


def edit(subject: Subject) -> None:
    if record := subject.record():
        with transaction(subject.app.database):
            record.wide = EDITED
            record.save()
            for file in subject.files(record):
                file.update_versions()


def append(subject: Subject) -> None:
    if record := subject.record():
        record.file.append(GIFS[6])
        record.save()


def reorder(subject: Subject) -> None:
    if record := subject.record():
        record.file = list(record.file)[::-1]
        record.save()


def shrink(subject: Subject) -> None:
    if record := subject.record():
        record.file = list(record.file)[:1]
        record.save()


def post(subject: Subject) -> None:
    """An upload through the endpoint for direct uploads, and a record with it."""
    if subject.record() is None:
        endpoint = endpoints.upload(subject.model.file.uploader, allow=lambda environ: "ann")
        answer = Caller(endpoint, "wsgi")("POST", "/?filename=a.gif", content=GIFS[0])
        _take(subject, answer.json()["cache_id"])


def go_on(subject: Subject) -> None:
    """What is left of a resumable upload, and a record with it."""
    if subject.record() is None:
        tus, path = _tus(subject), subject.notes.read_text()
        offset = int(tus.head(path).headers["Upload-Offset"])
        if offset < len(GIFS[0]):
            tus.patch(path, offset, GIFS[0][offset:])
        _take(subject, tus.told(path)["cache_id"])


def abandon(subject: Subject) -> None:
    _tus(subject).delete(subject.notes.read_text())


def expire(subject: Subject) -> None:
    ResumableUpload.update(expires_at=0).execute()
    rows.forget_expired()


def _take(subject: Subject, cache_id: str) -> None:
    record = subject.model()
    record.file_cache = [cache_id] if subject.kind.many else cache_id
    record.save()


def _tus(subject: Subject) -> Tus:
    endpoint = endpoints.tus(subject.model.file.uploader, allow=lambda environ: "ann")
    return Tus(Caller(endpoint, "wsgi"))


# What it promises.


def same(kind: Kind, state: State) -> State:
    return state


def made(kind: Kind, state: State) -> State:
    return first_state(kind) if state is None else state


def made_of_one(kind: Kind, state: State) -> State:
    return ((width(0),), False) if state is None else state


def gone(kind: Kind, state: State) -> State:
    return None


def _files(change: Callable[[Kind, tuple[int, ...]], tuple[int, ...]]) -> "Promise":
    """The promise of an operation that changes the files of a record, if there is one."""
    return lambda kind, state: state and (change(kind, state[0]), state[1])


def one_more(kind: Kind, files: tuple[int, ...], number: int, keep: int = 0) -> tuple[int, ...]:
    return (*files[keep:], width(number)) if kind.many else (width(number),)


replaced = _files(lambda kind, files: one_more(kind, files, 2, keep=1))
replaced_twice = _files(lambda kind, _: tuple(map(width, (4, 5) if kind.many else (4,))))
emptied = _files(lambda kind, _: ())
appended = _files(lambda kind, files: one_more(kind, files, 6))
reversed_ = _files(lambda kind, files: files[::-1])
first_alone = _files(lambda kind, files: files[:1])


def edited(kind: Kind, state: State) -> State:
    return state and (state[0], True)


Promise = Callable[[Kind, State], State]


@dataclass(frozen=True)
class Operation:
    """One operation.

    Parameters:
      act: does it, as an application would. It does nothing where there is nothing to do.
      promise: what a record promises afterwards, by what it promised before.
      before: what was done before; the operation is tried after each of these.
      lists, singles: whether it is for lists, and for single files.
      how: for which ways to store them.
    """

    act: Act
    promise: Promise
    before: tuple[Act, ...]
    lists: bool = True
    singles: bool = True
    how: Sequence[str] = HOW

    def is_for(self, kind: Kind, before: Act) -> bool:
        if before in (waiting, crowded) and kind.how == AT_ONCE:
            return False  # it would be the same as `stored`
        return kind.how in self.how and (self.lists if kind.many else self.singles)


BOTH = (stored, waiting)
BY_BROKEN = "replace-by-broken"

OPERATIONS = {
    "create": Operation(create, made, (nothing,)),
    "submit": Operation(submit, made, (shown_again,)),
    "work": Operation(only_work, same, (waiting, crowded)),
    "replace": Operation(replace, replaced, BOTH),
    "replace-twice": Operation(replace_twice, replaced_twice, BOTH),
    "append": Operation(append, appended, BOTH, singles=False),
    "reorder": Operation(reorder, reversed_, BOTH, singles=False),
    "shrink": Operation(shrink, first_alone, BOTH, singles=False),
    BY_BROKEN: Operation(replace_by_broken, same, (stored,), lists=False, how=(STORED_LATER,)),
    "remove": Operation(remove, emptied, BOTH),
    "delete": Operation(delete, gone, BOTH),
    "delete-query": Operation(delete_query, gone, BOTH),
    "recreate": Operation(recreate, same, BOTH),
    "recreate-one": Operation(recreate_one, same, BOTH),
    "edit": Operation(edit, edited, BOTH),
    "post": Operation(post, made_of_one, (nothing,)),
    "go-on": Operation(go_on, made_of_one, (begun,)),
    "abandon": Operation(abandon, same, (begun,)),
    "expire": Operation(expire, same, (begun,)),
}


def afterwards(kind: Kind) -> list[str]:
    """What somebody may do to a record after a crash, before anything is mended."""
    chosen = OPERATIONS.items()
    return [name for name, it in chosen if stored in it.before and it.is_for(kind, stored)]
