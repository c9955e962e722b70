"""Whether there is an installation where a command looks for one.

No command makes a new one by being started in the wrong folder: it says where it looked. Only
`gifster migrate` makes one, in a folder with a `settings.toml` or when it is told to, and `gifster
restore` brings one back.
"""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import peewee

from gifster.app import database
from gifster.app.numbers import counted
from gifster.app.private import VAR
from gifster.app.settings import Settings
from gifster.app.settings.loading import FILE
from gifster.jobs.database_errors import is_database_error
from gifster.jobs.signal_event import SignalEvent

#: What only an installation has below `var/`.
TRACES = ("gifster.db", "secret", "valkey", "store", "cache")
#: While this file is there, `gifster restore` has not finished.
RESTORING = VAR / "restoring.json"
#: How often a process that waits for a migration looks (seconds).
LOOK_EVERY_S = 2.0


class NoInstallation(Exception):
    """There is no installation here, or it is not complete. The message says where we looked."""


def check(settings: Settings) -> None:
    """Check that the database is there, and that no later release has migrated it. A server that
    does not answer passes: it may answer later.

    Raises:
      NoInstallation
      NewerDatabase: says what to do.
    """
    _check_restored()
    file = settings.database.file
    if file is not None and not file.exists():
        try:
            database.refuse_changes_left(file)
        except database.ChangesLeft as error:
            raise NoInstallation(str(error)) from error
        raise NoInstallation(
            f"there is no database in {file.absolute()}: run this in Gifster's folder, or make a "
            "new database with gifster migrate"
        )
    with _database_beside(settings) as beside:
        database.check_not_newer(beside)


def wait_until_migrated(settings: Settings, tell: Callable[[str], None]) -> None:
    """Wait until the database, which is there, has what this release needs. Without that, a worker
    would fail each job that meets a missing column, until its attempts are used up. A server that
    does not answer at first passes.

    A signal to stop ends the process, in order: it may be the first one of a container, which the
    system does not end.

    Parameters:
      tell: is told once what it waits for.

    Raises:
      NoInstallation: it is gone.
      NewerDatabase: a later release has migrated it.
    """
    over: SignalEvent | None = None
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    while (pending := _count_pending(settings)) != 0:
        if over is None:
            if pending is None:
                return
            tell(
                f"the database is not up to date ({counted(pending, 'pending migration')}): "
                "run gifster migrate, for which this process waits"
            )
            over = SignalEvent()
            over.set_at(*before)
        if over.wait(LOOK_EVERY_S):
            sys.exit(0)
        check(settings)
    if over is not None:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _count_pending(settings: Settings) -> int | None:
    """How many migrations the database lacks; None if it does not answer."""
    with _database_beside(settings) as beside:
        return len(database.pending_migrations(beside))
    return None


@contextmanager
def _database_beside(settings: Settings) -> Iterator[peewee.Database]:
    """The database of the settings, beside the one that the models use. If it does not answer, the
    block ends."""
    beside = database.opened(settings.database.url)
    try:
        yield beside
    except (peewee.PeeweeException, OSError) as error:
        if not is_database_error(error):
            raise
    finally:
        beside.close_all()  # type: ignore[attr-defined]  # it is a pool


def _check_restored() -> None:
    try:
        is_restoring = RESTORING.exists()
    except PermissionError as error:
        raise NoInstallation(
            f"{VAR.absolute()}: {error.strerror}: run this as the user that owns it"
        ) from None
    if is_restoring:
        raise NoInstallation(
            f"a restore has not finished here ({RESTORING.absolute()}): start gifster restore "
            "again, which goes on where it ended"
        )


def check_may_begin(settings: Settings) -> None:
    """Check that a database that is missing may be made here: somebody has chosen this folder.

    Raises:
      NoInstallation
    """
    _check_restored()
    file = settings.database.file
    if file is None or file.exists() or file.is_absolute() or FILE.exists():
        return
    raise NoInstallation(
        f"there is no Gifster in {Path.cwd()}: neither {FILE} nor {file} is there. Run this in "
        "Gifster's folder. To make a new installation here: gifster migrate --new"
    )


def check_traces(settings: Settings) -> None:
    """Check that something of an installation is here, so that its rest can be examined.

    Raises:
      NoInstallation
    """
    file = settings.database.file
    if file is None or FILE.exists() or any((VAR / name).exists() for name in TRACES):
        return
    if not file.exists():
        raise NoInstallation(
            f"there is no Gifster in {Path.cwd()}: neither {FILE} nor {file} nor anything else of "
            f"ours in {VAR}/ is there. Run this in Gifster's folder"
        )
