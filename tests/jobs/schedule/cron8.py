"""What cron(8) of Debian does, minute by minute: the oracle that `cron_rules` is held against.

It shares no code with `cron_rules`, and follows the manual's text: jobs with a fixed time of day
whose time was skipped run right after a forward change of less than three hours, and do not run
again after a backward one; all others run when the clock shows their time.

`python -m tests.jobs.schedule.cron8 2024 2034` compares every zone and rule below, densely, for
those years.
"""

import sys
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

HOUR, DAY = 3600, 86_400
#: Half hours (Lord Howe), quarters (Chatham), two hours (Troll), changes at midnight (Havana,
#: Santiago, Beirut, Cairo), Ramadan (Casablanca, El Aaiun, Gaza), negative summer time (Dublin), no
#: summer time at all.
ZONES = (
    "Africa/Cairo", "Africa/Casablanca", "Africa/El_Aaiun", "America/Havana", "America/New_York",
    "America/Santiago", "America/Scoresbysund", "America/St_Johns", "Antarctica/Troll",
    "Asia/Beirut", "Asia/Gaza", "Asia/Jerusalem", "Asia/Kathmandu", "Australia/Lord_Howe",
    "Australia/Sydney", "Europe/Berlin", "Europe/Dublin", "Europe/London", "Pacific/Auckland",
    "Pacific/Chatham", "Pacific/Easter", "UTC",
)  # fmt: skip
RULES = (
    "0 0 * * mon", "0 0 * * *", "30 0 * * *", "59 23 * * sat,sun", "0 2 * * *", "30 2 * * *",
    "15,45 1-3 * * *", "5 0-23 * * *", "0-59/20 1 * * *", "0 0 1 * 1", "30 1 */2 * 0",
    "0 3 29-31 3,10 *", "0 4 1-7 * */2", "0 0,12 * * 0-6/3", "30 0 1 * *", "45 1 * * fri-7",
    "0 */2 * * *", "*/30 * * * *", "*/15 2 * * *", "17 * * * *", "*/7 0-2 * * sun", "0 */3 * 3 1/2",
)  # fmt: skip
WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
MONTHS = ("", "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


@dataclass(frozen=True)
class Minute:
    """What the clock shows from one moment on (seconds since the epoch) for a minute."""

    moment: int
    shown: datetime
    #: What it would have shown, had it not been put forward.
    skipped: tuple[datetime, ...]
    #: Whether it showed this before it was put back.
    again: bool
    #: The minute of the day that it shows.
    of_day: int


@dataclass
class Rule:
    text: str
    _days: dict[date, bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        minute, hour, day, month, weekday = self.text.split()
        hours, minutes = _values(hour, 0, 23), _values(minute, 0, 59)
        #: The minutes of a day, of which each has the number that `Minute.of_day` has.
        self.times = {60 * hour + minute for hour in hours for minute in minutes}
        self.days, self.months = _values(day, 1, 31), _values(month, 1, 12, MONTHS)
        self.weekdays = {value % 7 for value in _values(weekday, 0, 6, WEEKDAYS)}
        self.both_days = day.startswith("*") or weekday.startswith("*")
        self.fixed = not (minute.startswith("*") or hour.startswith("*"))

    def moments(self, minutes: list[Minute]) -> list[int]:
        return [
            minute.moment
            for minute in minutes
            if (minute.of_day in self.times or minute.skipped) and self._runs(minute)
        ]

    def _runs(self, minute: Minute) -> bool:
        if not self.fixed:
            return self._matches(minute.shown)
        if any(self._matches(shown) for shown in minute.skipped):
            return True
        return not minute.again and self._matches(minute.shown)

    def _matches(self, shown: datetime) -> bool:
        on_time = 60 * shown.hour + shown.minute in self.times
        return on_time and self._matches_day(shown.date())

    def _matches_day(self, day: date) -> bool:
        if day not in self._days:
            found = (day.day in self.days, day.isoweekday() % 7 in self.weekdays)
            both = all(found) if self.both_days else any(found)
            self._days[day] = both and day.month in self.months
        return self._days[day]


def minutes(zone: str, begin: int, end: int) -> list[Minute]:
    """Every minute from one moment to another (seconds since the epoch)."""
    found, before, latest = [], None, None
    short, place = timedelta(hours=3), ZoneInfo(zone)
    for moment in range(begin - DAY, end, 60):
        shown = datetime.fromtimestamp(moment, place).replace(tzinfo=None, fold=0)
        skipped = []
        if before is not None and shown - before < short:
            gap = (shown - before) // timedelta(minutes=1)
            skipped = [before + timedelta(minutes=n) for n in range(1, gap)]
        again = latest is not None and shown <= latest and latest - shown < short
        latest = shown if latest is None else max(latest, shown)
        before = shown
        of_day = 60 * shown.hour + shown.minute
        found.append(Minute(moment, shown, tuple(skipped), again, of_day))
    return found[DAY // 60 :]


def changes(zone: str, begin: int, end: int) -> list[int]:
    """When a zone's clock is changed in these years, to half an hour (seconds since the epoch)."""
    first, last = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in (begin, end))
    place = ZoneInfo(zone)

    def changed(step: int, begin: int, end: int) -> Iterator[int]:
        offsets = [(at, datetime.fromtimestamp(at, place).utcoffset())
                   for at in range(begin, end + 1, step)]  # fmt: skip
        return (b[0] for a, b in pairwise(offsets) if a[1] != b[1])

    # No zone changes its clock twice within a day.
    return [at for day in changed(DAY, first, last) for at in changed(HOUR // 2, day - DAY, day)]


def around(zone: str, begin: int, end: int) -> Iterator[tuple[int, list[Minute]]]:
    """The changes of these years, and three days around each; one is made up where none is."""
    for change in changes(zone, begin, end) or [int(datetime(begin, 3, 29, 1).timestamp())]:
        yield change, minutes(zone, change - 36 * HOUR, change + 36 * HOUR)


def first_after(moments: list[int], moment: float) -> int | None:
    at = bisect_right(moments, moment)
    return moments[at] if at < len(moments) else None


def _values(text: str, low: int, high: int, names: tuple[str, ...] = ()) -> set[int]:
    def value(name: str) -> int:
        return names.index(name) if name in names else int(name)

    found: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        begin = low if first == "*" else value(first)
        end = high if first == "*" or (step and not last) else value(last or first)
        found |= set(range(begin, end + 1, int(step or 1)))
    return found


def main() -> None:
    from gifster.jobs.cron_rules import next_after

    begin, end = (int(year) for year in sys.argv[1:])
    checked, wrong = 0, 0
    for zone in ZONES:
        for change, shown in around(zone, begin, end):
            for text in RULES:
                expected, after = Rule(text).moments(shown), next_after(text, zone)
                for start in range(change - 35 * HOUR, change + 35 * HOUR, HOUR // 6):
                    if (right := first_after(expected, start)) is not None:
                        checked += 1
                        if (found := after(start)) != right:
                            wrong += 1
                            print(f"{zone} {text!r} after {start}: {found}, not {right}")
        print(f"{zone}: {checked} compared so far, {wrong} wrong", flush=True)
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
