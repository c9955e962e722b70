"""Tenor's `pos` and `next`: where a page of results begins.

Some clients ask for the next page by `pos` alone, so it also has the parameters of the first page.
It is not secret, and not signed: whatever is in it is read like a parameter, which anybody may
send.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import replace

from gifster.api.dropin.asked import MOST, MOST_OFFSET, Asked
from gifster.api.problems import Problem
from gifster.app.texts import MAX_QUERY

#: The parameters that a position repeats.
REPEATED = ("q", "searchfilter", "contentfilter", "media_filter", "ar_range", "locale", "limit")
#: A longer position is not one of ours (characters).
LONGEST = 4 * (MAX_QUERY + len(REPEATED) * MOST)


def write(offset: int, top: int, values: Mapping[str, str]) -> str:
    """The position of the result with that number, the first being 0.

    Parameters:
      top: of what was found (`search.Found`), so that no page shows again what an earlier one did.
      values: the parameters of the request, which the next page repeats.
    """
    kept = {name: values[name][: 2 * MAX_QUERY] for name in REPEATED if values.get(name)}
    text = json.dumps([offset, top, kept], ensure_ascii=False, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode(errors="ignore")).decode().rstrip("=")


def read(asked: Asked) -> tuple[int, int, Asked]:
    """The offset that `pos` stands for, the top, and the parameters. Those of the request go before
    those of the position.

    An absent, empty or zero `pos` is the beginning; any other number is an offset.

    Raises:
      Problem: 400, the position is malformed, or too far from the beginning.
    """
    text = asked.raw("pos")
    if not text:
        return 0, 0, asked
    if text.isascii() and text.isdigit() and len(text) <= len(str(MOST_OFFSET)):
        return _checked(int(text)), 0, asked
    try:
        if len(text) > LONGEST or not text.isascii():
            raise ValueError(text)  # noqa: TRY301 said once for all
        padded = text + "=" * (-len(text) % 4)
        offset, *tops, kept = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        [top] = tops or [0]  # a process of an earlier release wrote none
        kept = {str(name): value for name, value in dict(kept).items() if isinstance(value, str)}
        if (type(offset), type(top)) != (int, int) or top < 0:
            raise TypeError(offset, top)  # noqa: TRY301
    except (ValueError, TypeError, RecursionError, binascii.Error):
        raise _invalid() from None
    sent = {name: value for name, value in asked.values.items() if value.strip()}
    values = {name: kept[name] for name in REPEATED if name in kept} | sent
    return _checked(offset), top, replace(asked, values=values)


def _checked(offset: int) -> int:
    if not 0 <= offset <= MOST_OFFSET:
        raise _invalid()
    return offset


def _invalid() -> Problem:
    return Problem(
        400, "pos_invalid", "pos is invalid: send the `next` of the page before, or nothing."
    )
