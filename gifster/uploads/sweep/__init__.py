"""The sweep finds what crashes leave behind: files without a row, rows without a file, uploads
without a job.

It deletes only files that it knows: a file has a key as the framework makes them, the key belongs
to a model that this process has imported, the model's table could be read whole, and nothing names
the file. The sweep leaves every other file alone, and the findings say why.

It is safe beside uploads, workers and other sweeps, however late or often it runs. Only files older
than `min_age_s` can count as abandoned, and files that a job may still write are left alone. A
file's age is told by the clock of its storage, and time in which nobody watched the clock of the
outbox does not count (`jobs.moment_before()`): a clock that is set makes no file older. The sweep
lists the storages before it reads the database, so that no file can lose its row in between.

`places` tells storages apart, `owners` knows whose a key is, `reading` gathers the keys that the
database names, `ledger` keeps them on the disk, `judging` decides, and `repairs` deletes.
"""

import time
from collections.abc import Iterator
from contextlib import closing, suppress

from gifster import jobs
from gifster.jobs.database_errors import is_database_error
from gifster.uploads.storage.temporaries import abandoned, remove_unused
from gifster.uploads.sweep.findings import Findings, LeftAlone, Why
from gifster.uploads.sweep.judging import Judgement
from gifster.uploads.sweep.ledger import Ledger
from gifster.uploads.sweep.repairs import Repairs

__all__ = ["MIN_AGE_S", "Findings", "LeftAlone", "Why", "sweep"]

MIN_AGE_S = 3600.0


def sweep(*, repair: bool, min_age_s: float = MIN_AGE_S, force: bool = False) -> Findings:
    """Compare all storages with all models that have uploads.

    Import the modules of your models first: the sweep leaves the files of other models alone.

    Parameters:
      repair: delete abandoned and orphaned files, and enqueue stuck uploads again.
      min_age_s: leave younger files alone (seconds): their request or job may be under way.
      force: delete the files even if they are more than 100 and more than a tenth of a storage.
    """
    min_age_s = _watched(min_age_s) if min_age_s > 0 else min_age_s
    found = Findings()
    with closing(Ledger()) as ledger:
        judgement = Judgement(ledger, found, min_age_s)
        judgement.list_storages()
        judgement.read_database()
        judgement.find_suspects()
        repairs = Repairs(judgement, repair=repair, force=force)
        for place in judgement.places:
            repairs.files(place)
        repairs.missing()
        found.abandoned += _work_folders(time.time() - min_age_s, repair)
        repairs.stuck()
    return found


def _watched(min_age_s: float) -> float:
    """How old a file must be now to have been there for so long while the clock was watched."""
    try:
        return jobs.now() - jobs.moment_before(min_age_s)
    except Exception as error:
        # Without the outbox no file is judged, and the findings say why.
        if not isinstance(error, jobs.NotBound) and not is_database_error(error):
            raise
        return min_age_s


def _work_folders(before: float, repair: bool) -> Iterator[str]:
    """Temporary files and folders that killed processes left."""
    for path in abandoned(before):
        yield f"temporary:{path.name}"
        if repair:
            with suppress(FileNotFoundError):
                remove_unused(path)
