"""Cron rules, written as in crontab(5) and run as by cron(8).

`cronsim` finds the minutes of a wall clock that a rule matches, and handles summer time for rules
with a fixed time of day. This module explains in a sentence what is wrong with a rule, and handles
summer time for all other rules.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

NICKNAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
#: The fields: name, plural, allowed values, and the largest step.
FIELDS = (
    ("minute", "minutes", "0 to 59", 59),
    ("hour", "hours", "0 to 23", 23),
    ("day of the month", "days of the month", "1 to 31, or L", 30),
    ("month", "months", "1 to 12, or jan to dec", 11),
    ("day of the week", "days of the week", "0 to 7, or sun to sat", 99),
)
DAY, WEEKDAY = 2, 4
#: Shifts of a clock by less than this are summer time; larger ones are corrections: cron(8).
SHIFT = timedelta(hours=3)
SOME_MOMENT = datetime(2000, 1, 1)


def next_after(rule: str, timezone: str = "UTC") -> Callable[[float], float]:
    """A function that returns the first moment of a rule after another moment (both in seconds
    since the epoch).

    Where summer time begins or ends, the moments are those of Debian's cron(8). A rule with a fixed
    time of day runs once: right after the gap, where the clock skips its time; the first time,
    where the clock shows it twice. A rule whose minute or hour begins with `*` runs as the clock
    shows.

    Parameters:
      rule: five fields, or a nickname such as `@daily`.
      timezone: the time zone of the clock, by its name in the IANA database.

    Raises:
      ValueError: the rule is invalid or never comes true, or there is no such time zone; says what
        is wrong.
    """
    fields = NICKNAMES.get(rule.strip(), rule).split()
    if len(fields) != len(FIELDS):
        raise ValueError(
            f"a rule has 5 fields (minute hour day month weekday), {rule!r} has {len(fields)}"
        )
    try:
        zone = ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(
            f"there is no time zone {timezone!r} (write it as the IANA database does, such as "
            "'Europe/Berlin')"
        ) from None
    plain = " ".join(_checked(number, field) for number, field in enumerate(fields))
    wild = fields[0].startswith("*") or fields[1].startswith("*")
    candidates = _as_the_clock_shows if wild else _once_a_time_of_day

    def after(moment: float) -> float:
        try:
            following = candidates(plain, moment, zone)
            return next(found for found in following if found > moment)
        except (CronSimError, StopIteration):
            raise ValueError(f"{rule!r} never comes true") from None

    after(datetime.now(UTC).timestamp())
    return after


def _once_a_time_of_day(rule: str, moment: float, zone: ZoneInfo) -> Iterator[float]:
    """The moments of a rule, from about another moment on. Of a repeated hour, cronsim takes the
    first."""
    for found in CronSim(rule, datetime.fromtimestamp(moment, zone)):
        yield found.timestamp()


def _as_the_clock_shows(rule: str, moment: float, zone: ZoneInfo) -> Iterator[float]:
    """The first moment after another one; no more.

    cronsim gets a clock without a time zone: it misses moments where the shift is not a whole hour
    (Lord Howe, Chatham) or begins within an hour (cronsim 2.8).
    """
    wall = datetime.fromtimestamp(moment, zone).replace(tzinfo=None, fold=0)
    again: list[float] = []  # moments at which the clock shows a past time for the second time
    for shown in CronSim(rule, wall - SHIFT):
        first, second = (_moment(shown, zone, fold) for fold in (0, 1))
        again += [second] if second is not None and second > moment else []
        if first is not None and first > moment:
            yield min([first, *again])
            return


def _moment(shown: datetime, zone: ZoneInfo, fold: int) -> float | None:
    """When a zone's clock shows a time, the first time (fold 0) or the last; None if it never
    does."""
    moment = shown.replace(tzinfo=zone, fold=fold).timestamp()
    there = datetime.fromtimestamp(moment, zone).replace(tzinfo=None, fold=0)
    return moment if there == shown else None


def _checked(number: int, field: str) -> str:
    """A field in cronsim's syntax.

    Raises:
      ValueError: the field is invalid; says which part is wrong.
    """
    return ",".join(_checked_part(number, part) for part in field.lower().split(","))


def _checked_part(number: int, part: str) -> str:
    name, plural, allowed, longest = FIELDS[number]
    if number == DAY and part == "last":
        return "L"
    span, slash, step = part.partition("/")
    first, dash, last = span.partition("-")
    if _is_field(number, first) and _is_field(number, last) and not _is_field(number, span):
        raise ValueError(f"{part!r}: the {plural} run backwards (write two parts, with a comma)")
    if not _is_field(number, span):
        raise ValueError(f"{part!r} is not a valid {name} ({allowed})")
    if slash and not (step.isdecimal() and 1 <= int(step) <= longest):
        raise ValueError(f"{part!r}: a step of {plural} is a number from 1 to {longest}")
    if slash and dash and _is_field(number, f"{last}-{first}"):
        return span  # one value: cronsim would go on from it to the end of the field
    if number == WEEKDAY and slash and not dash and span != "*":
        return f"{span}-6/{step}"  # Sunday is 0; cronsim would also count it as 7
    if not _is_field(number, part):
        raise ValueError(f"{part!r} is not a valid {name} ({allowed})")
    return part


def _is_field(number: int, text: str) -> bool:
    fields = ["*"] * len(FIELDS)
    fields[number] = text or "?"
    try:
        CronSim(" ".join(fields), SOME_MOMENT)
    except CronSimError:
        return False
    return True
