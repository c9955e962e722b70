"""Checks the content of stored files, a share of them with each sweep, and notes the damaged ones.

Each sweep continues where the last one ended. It checks the damaged files every time, so that it
does not report repaired files any more.
"""

import json
import math
import time
from collections.abc import Iterator

from peewee import fn

from gifster.app.database import db
from gifster.app.models import DamagedFile, FileCheck, Gif
from gifster.jobs import transaction
from gifster.uploads.columns.rows import readable
from gifster.uploads.sweep.contents import Damaged, damaged_files, records, recreate_damaged

COLUMN = "gif.image"
SWEEPS_A_DAY = 24
#: The check of one share takes at most so long, as a part of a job (seconds).
MOST_S = 120.0


def check_share(days: int) -> int:
    """Check the files of the next GIFs.

    Parameters:
      days: every GIF is checked once in so many days.

    Returns:
      how many GIFs were checked.
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
    _continue_after(position)
    return looked


def _check_damaged(until: float) -> set[str]:
    """Check the GIFs with damaged files again, those found last first. Returns their ids."""
    noted = DamagedFile.select(DamagedFile.gif).group_by(DamagedFile.gif)
    ids = [row.gif_id for row in noted.order_by(fn.MAX(DamagedFile.found_at).desc())]
    looked = set()
    for gif_id in ids:
        for gif in readable(Gif.select().where(Gif.id == gif_id)):
            check_gif(gif)
        looked.add(gif_id)
        if time.monotonic() > until:
            break
    return looked


def check_all() -> Iterator[tuple[Gif, list[Damaged]]]:
    """Check the files of all GIFs, and note the damaged ones. Yields each GIF and its bad files."""
    for gif in records(Gif.image):
        yield gif, check_gif(gif)


def check_gif(gif: Gif) -> list[Damaged]:
    """Check the files of one GIF, and note the damaged ones.

    Returns:
      the damaged files, and the missing ones, which the sweep reports.
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
    """Have a worker make a GIF's damaged versions again. Returns the number of enqueued jobs."""
    return len(recreate_damaged(Gif.image, gif, damaged))


def damaged() -> list[DamagedFile]:
    """The files that were found damaged."""
    return list(DamagedFile.select().order_by(DamagedFile.storage, DamagedFile.key))


def _continue_after(gif_id: str | None) -> None:
    position = None if gif_id is None else json.dumps(gif_id)
    FileCheck.insert(column=COLUMN, position=position).on_conflict(
        conflict_target=[FileCheck.column], update={"position": position}
    ).execute()
