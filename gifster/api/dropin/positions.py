"""Tenor's `pos` and `next`: where a page of results begins.

Some clients ask for the next page by `pos` alone, so it also has the parameters of the first page.
It is not secret, and not signed: whatever is in it is read like a parameter, which anybody may
send.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

from gifster.api.dropin.asked import MOST, MOST_OFFSET, Asked
from gifster.api.problems import Problem
from gifster.app.search.finding import read_cursor
from gifster.app.texts import MAX_QUERY

#: The parameters that a position repeats.
REPEATED = ("q", "searchfilter", "contentfilter", "media_filter", "ar_range", "locale", "limit")
#: A longer position is not one of ours (characters).
LONGEST = 4 * (MAX_QUERY + len(REPEATED) * MOST)


@dataclass(frozen=True)
class Start:
    """Where a page begins.

    Parameters:
      offset: how many results are left out, if there is no cursor.
      cursor: of the page (`search.Found`).
    """

    offset: int = 0
    cursor: str = ""

    @property
    def is_first(self) -> bool:
        """Whether it is the beginning."""
        return not (self.offset or self.cursor)


def write(cursor: str, values: Mapping[str, str]) -> str:
    """The position of the page with that cursor.

    Parameters:
      cursor: of what was found (`search.Found`).
      values: the parameters of the request, which the next page repeats.
    """
    kept = {name: values[name][: 2 * MAX_QUERY] for name in REPEATED if values.get(name)}
    text = json.dumps([cursor, kept], ensure_ascii=False, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode(errors="ignore")).decode().rstrip("=")


def read(asked: Asked) -> tuple[Start, Asked]:
    """What `pos` stands for, and the parameters. Those of the request go before those of the
    position.

    An absent, empty or zero `pos` is the beginning; any other number is an offset.

    Raises:
      Problem: 400, the position is malformed, or too far from the beginning.
    """
    text = asked.raw("pos")
    if not text:
        return Start(), asked
    if text.isascii() and text.isdigit() and len(text) <= len(str(MOST_OFFSET)):
        return Start(_checked(int(text))), asked
    try:
        if len(text) > LONGEST or not text.isascii():
            raise ValueError(text)  # noqa: TRY301 said once for all
        padded = text + "=" * (-len(text) % 4)
        # A process of an earlier release wrote an offset, perhaps with a number behind it.
        place, *_, kept = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        kept = {str(name): value for name, value in dict(kept).items() if isinstance(value, str)}
        start = Start(cursor=place) if isinstance(place, str) else Start(_checked(place))
        if start.cursor:
            read_cursor(start.cursor)
    except (ValueError, TypeError, RecursionError, binascii.Error):
        raise _invalid() from None
    sent = {name: value for name, value in asked.values.items() if value.strip()}
    values = {name: kept[name] for name in REPEATED if name in kept} | sent
    return start, replace(asked, values=values)


def _checked(offset: int) -> int:
    if type(offset) is not int or not 0 <= offset <= MOST_OFFSET:
        raise _invalid()
    return offset


def _invalid() -> Problem:
    return Problem(
        400, "pos_invalid", "pos is invalid: send the `next` of the page before, or nothing."
    )
