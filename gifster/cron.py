"""Cron's rules, as crontab(5) reads them, by APScheduler's triggers.

APScheduler counts the days of the week from Monday, and takes a day of the month and a day of the
week as "both"; cron counts from Sunday, and takes them as "either".
"""

from collections.abc import Callable
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from apscheduler.triggers.combining import OrTrigger
from apscheduler.triggers.cron import CronTrigger

NICKNAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


def next_after(rule: str, timezone: str = "UTC") -> Callable[[float], float]:
    """What says when a rule's next moment after another one is (seconds since the epoch).

    Parameters:
      rule: five fields, or a nickname such as `@daily`.
      timezone: whose clock it goes by, a name of the IANA database.

    Raises:
      ValueError: it is no rule, never comes true, or there is no such time zone; says what is
        wrong.
    """
    fields = NICKNAMES.get(rule.strip(), rule).split()
    if len(fields) != 5:
        raise ValueError(f"a rule has 5 fields (minute hour day month weekday), {rule!r} has not")
    try:
        zone = ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError):
        raise ValueError(f"there is no time zone {timezone!r}") from None
    minute, hour, day, month, weekday = fields
    when = {"minute": minute, "hour": hour, "month": month, "timezone": zone}
    weekdays = _weekdays(weekday)
    if day.startswith("*") or weekday.startswith("*"):
        trigger = CronTrigger(day=day, day_of_week=weekdays, **when)
    else:
        trigger = OrTrigger(
            [CronTrigger(day=day, **when), CronTrigger(day_of_week=weekdays, **when)]
        )

    def after(moment: float) -> float:
        before = datetime.fromtimestamp(moment, UTC)
        following = trigger.get_next_fire_time(before, before)
        if following is None:
            raise ValueError(f"{rule!r} never comes true")
        return float(following.timestamp())

    after(datetime.now(UTC).timestamp())
    return after


def _weekdays(field: str) -> str:
    """Cron's days of the week as a list of names."""
    if field == "*":
        return field
    chosen: set[int] = set()
    for part in field.lower().split(","):
        days, _, step = part.partition("/")
        first, _, last = days.partition("-")
        begin, end = (0, 6) if days == "*" else (_weekday(first), _weekday(last or first))
        if step and not last and days != "*":
            end = 6
        if begin > end:
            raise ValueError(f"{part!r} are no days of the week, they run backwards")
        chosen |= {day % 7 for day in range(begin, end + 1, int(step or 1))}
    return ",".join(DAYS[day] for day in sorted(chosen))


def _weekday(text: str) -> int:
    if text in DAYS:
        return DAYS.index(text)
    if text.isdecimal() and int(text) <= 7:
        return int(text)
    raise ValueError(f"{text!r} is no day of the week (0 to 7, or sun to sat)")
