"""Does something with many GIFs, each in a transaction of its own, which is short."""

from collections.abc import Callable
from typing import Any

from gifster.app.database import db
from gifster.app.models import Gif
from gifster.jobs import transaction
from gifster.jobs.database_errors import is_of_one_row
from gifster.uploads.columns.rows import locked_row, log_unreadable

#: How many GIFs are looked up at a time.
AT_ONCE = 200


def for_each_gif(
    condition: Any, work: Callable[[Gif], object], most: int | None = None
) -> tuple[int, list[str]]:
    """Do something with all GIFs that meet a condition, which they then do not meet any more.

    Parameters:
      most: with how many at most.

    Returns:
      with how many it was done, and the ids of those that cannot be read: they stay as they are,
      and the log names them.
    """
    done = 0
    unread: list[str] = []
    query: Any = Gif.select(Gif.id).where(condition)
    while most is None or done < most:
        at_once = AT_ONCE if most is None else min(AT_ONCE, most - done)
        found = [gif_id for (gif_id,) in query.limit(at_once + len(unread)).tuples()]
        ids = [gif_id for gif_id in found if gif_id not in unread][:at_once]
        if not ids:
            break
        for gif_id in ids:
            with transaction(db):
                try:
                    gif = locked_row(Gif(id=gif_id))
                except Exception as error:
                    if not is_of_one_row(error):
                        raise
                    log_unreadable(Gif, gif_id, error)
                    unread.append(gif_id)
                    continue
                # Somebody may have taken it back, retried or deleted it meanwhile.
                if gif is not None and query.where(Gif.id == gif_id).exists():
                    work(gif)
                    done += 1
    return done, unread
