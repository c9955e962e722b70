"""Looking for what should not be there, and for what should: files without a row, rows without a
file, uploads without a job. Crashes leave these, and nothing else finds them.

It deletes only what it knows: a file that looks like one of the framework's, under the keys of a
model that this process has imported and whose table it could read whole, and that nothing names.
All else is left alone, and the findings say why.

Safe beside uploads, workers and other sweeps, late or twice: only what is older than `min_age_s` is
taken for abandoned, and what a job may still come to write is left alone. The storages are listed
before the database is read, so that a file cannot lose its row in between.

`places` tells storages apart, `owners` whose a key is; `reading` gathers what the database names,
`ledger` keeps it on the disk, and `judging` decides.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from gifster.uploads.storage.spool import WORK_PREFIX
from gifster.uploads.sweep.findings import Findings, LeftAlone, Why
from gifster.uploads.sweep.judging import Judgement
from gifster.uploads.sweep.ledger import Ledger
from gifster.uploads.sweep.repairs import Repairs

__all__ = ["MIN_AGE_S", "Findings", "LeftAlone", "Why", "sweep"]

MIN_AGE_S = 3600.0


def sweep(*, repair: bool, min_age_s: float = MIN_AGE_S, force: bool = False) -> Findings:
    """Look at all storages and all models with uploads.

    Import the modules of your models first: what belongs to others is left alone.

    Parameters:
      repair: remove what is abandoned or orphaned, and enqueue what is stuck.
      min_age_s: what is younger (seconds) belongs to a request or a job that is under way.
      force: also remove more than 100 files that are more than a tenth of a storage's.
    """
    before = time.time() - min_age_s
    found = Findings()
    with closing(Ledger()) as ledger:
        judgement = Judgement(ledger, found, before)
        judgement.list_storages()
        judgement.read_database()
        judgement.find_suspects()
        repairs = Repairs(judgement, repair=repair, force=force)
        for place in judgement.places:
            repairs.files(place)
        found.abandoned += _work_folders(before, repair)
        repairs.stuck()
    return found


def _work_folders(before: float, repair: bool) -> Iterator[str]:
    """Temporary files and folders of processes that were killed."""
    for path in Path(tempfile.gettempdir()).glob(f"{WORK_PREFIX}*"):
        try:
            abandoned = path.stat().st_mtime < before and path.stat().st_uid == os.getuid()
        except FileNotFoundError:
            continue
        if abandoned:
            yield f"temporary:{path.name}"
            if repair:
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)
