"""The check of stored files' content, a share of them with each sweep, and what it has found.

Each sweep goes on where the one before ended, and those that were found damaged are looked at every
time, so that what was mended is no longer reported.
"""

import json
import math
import time
from collections.abc import Iterator
from typing import Any

from peewee import SQL, fn

from gifster.app.database import db
from gifster.app.models import DamagedFile, FileCheck, Gif
from gifster.jobs import transaction
from gifster.uploads.sweep.contents import Damaged, damaged_files, records, recreate_damaged

COLUMN = "gif.image"
SWEEPS_A_DAY = 24
#: For how long one share is read at most (seconds): it is a part of a job.
MOST_S = 120.0


def check_share(days: int) -> int:
    """Read the files of the next GIFs, so many that all have had their turn in so many days.

    Returns:
      how many were looked at.
    """
    until = time.monotonic() + MOST_S
    known = _check_damaged(until - MOST_S / 2)
    total = Gif.select().where(Gif.image.is_null(False)).count()
    share = math.ceil(total / (days * SWEEPS_A_DAY))
    check = FileCheck.get_or_none(FileCheck.column == COLUMN)
    after = json.loads(check.position) if check is not None and check.position else None
    looked, position = 0, None
    for gif in records(Gif.image, after, at_most=share):
        if gif.id not in known:
            check_gif(gif)
        looked, position = looked + 1, gif.id
        if time.monotonic() > until:
            break
    else:
        if looked < share:  # that was the end: the next share begins with the first
            position = None
    _go_on_after(position)
    return looked


def _check_damaged(until: float) -> set[str]:
    """Look again at the GIFs with damaged files, the latest finds first. Returns their ids."""
    noted: Any = DamagedFile.select(DamagedFile.gif, fn.MAX(DamagedFile.found_at)).group_by(
        DamagedFile.gif
    )
    ids = [gif_id for gif_id, _ in noted.order_by(SQL("2").desc()).tuples()]
    looked = set()
    for gif_id in ids:
        gif = Gif.get_or_none(Gif.id == gif_id)
        if gif is not None:
            check_gif(gif)
        looked.add(gif_id)
        if time.monotonic() > until:
            break
    return looked


def check_all() -> Iterator[tuple[Gif, list[Damaged]]]:
    """Read the files of all GIFs, and note which are damaged."""
    for gif in records(Gif.image):
        yield gif, check_gif(gif)


def check_gif(gif: Gif) -> list[Damaged]:
    """Read the files of one GIF, and note which are damaged.

    Returns:
      also those that are missing, which the sweep reports.
    """
    found = damaged_files(Gif.image, gif)
    damaged = {(damage.storage, damage.key): damage for damage in found if not damage.missing}
    rows = DamagedFile.select().where(DamagedFile.gif == gif)
    noted = {(row.storage, row.key): row for row in rows}
    if damaged.keys() == noted.keys():
        return found
    with transaction(db):
        for place, row in noted.items():
            if place not in damaged:
                row.delete_instance()
        for place, damage in damaged.items():
            if place not in noted and Gif.get_or_none(Gif.id == gif.id) is not None:
                DamagedFile.insert(
                    gif=gif, storage=damage.storage, key=damage.key, reason=damage.reason
                ).on_conflict_ignore().execute()
    return found


def recreate(gif: Gif, damaged: list[Damaged]) -> int:
    """Have a GIF's damaged versions made again by a worker. Returns how many jobs that are."""
    return len(recreate_damaged(Gif.image, gif, damaged))


def damaged() -> list[DamagedFile]:
    """The files that are known to be damaged."""
    return list(DamagedFile.select().order_by(DamagedFile.storage, DamagedFile.key))


def _go_on_after(gif_id: str | None) -> None:
    position = None if gif_id is None else json.dumps(gif_id)
    FileCheck.insert(column=COLUMN, position=position).on_conflict(
        conflict_target=[FileCheck.column], update={"position": position}
    ).execute()
