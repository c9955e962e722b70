"""Cron rules: their moments, above all where summer time begins and ends; and invalid rules."""

from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from gifster.jobs.cron_rules import next_after
from tests.jobs.schedule import cron8
from tests.machine import examples


def moments(rule: str, zone: str, begin: str, count: int) -> list[str]:
    """The first moments of a rule after another one, both by the clock of its zone."""
    after = next_after(rule, zone)
    moment = datetime.fromisoformat(begin).replace(tzinfo=ZoneInfo(zone)).timestamp()
    found = []
    for _ in range(count):
        moment = after(moment)
        found.append(datetime.fromtimestamp(moment, ZoneInfo(zone)).strftime("%m-%d %H:%M%z"))
    return found


@pytest.mark.parametrize(
    ("rule", "zone", "begin", "expected"),
    [
        # The day after the change has its midnight
        ("0 0 * * mon", "Europe/Berlin", "2026-03-23", ["03-30 00:00+0200", "04-06 00:00+0200"]),
        ("30 0 * * *", "Europe/Berlin", "2026-03-29", ["03-29 00:30+0100", "03-30 00:30+0200"]),
        ("0 0 * * *", "Europe/Berlin", "2026-10-25", ["10-26 00:00+0100", "10-27 00:00+0100"]),
        # A time that is skipped is made up for at once, one that is shown twice counts once
        ("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00",
         ["03-29 03:00+0200", "03-30 02:30+0200"]),
        ("0,30 2,3 * * *", "Europe/Berlin", "2026-03-29",
         ["03-29 03:00+0200", "03-29 03:30+0200", "03-30 02:00+0200"]),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25", ["10-25 02:30+0200", "10-26 02:30+0100"]),
        # What runs more often runs as the clock shows
        ("30 * * * *", "Europe/Berlin", "2026-10-25T01:00",
         ["10-25 01:30+0200", "10-25 02:30+0200", "10-25 02:30+0100", "10-25 03:30+0100"]),
        ("*/30 2 * * *", "Europe/Berlin", "2026-03-28T12:00",
         ["03-30 02:00+0200", "03-30 02:30+0200"]),
        # Where midnight itself is skipped, or shown twice
        ("0 0 * * *", "America/Havana", "2026-03-07T12:00",
         ["03-08 01:00-0400", "03-09 00:00-0400"]),
        ("0 0 * * *", "America/Havana", "2026-10-31T12:00",
         ["11-01 00:00-0400", "11-02 00:00-0500"]),
        # A shift of half an hour
        ("0 */2 * * *", "Australia/Lord_Howe", "2025-04-06",
         ["04-06 02:00+1030", "04-06 04:00+1030"]),
        # A day that never was: Samoa went from 29 to 31 December
        ("0 12 * * *", "Pacific/Apia", "2011-12-29",
         ["12-29 12:00-1000", "12-31 00:00+1400", "12-31 12:00+1400"]),
    ],
)  # fmt: skip
def test_summer_time(rule: str, zone: str, begin: str, expected: list[str]):
    assert moments(rule, zone, begin, len(expected)) == expected


@pytest.mark.parametrize("zone", cron8.ZONES[:: examples(3, of=1)])
def test_the_moments_are_those_that_a_walk_over_all_minutes_finds(zone: str):
    for change, minutes in cron8.around(zone, 2025, examples(2026, of=2027)):
        starts = [*range(change - 3 * 3600, change + 3 * 3600, 1200),
                  *range(minutes[0].moment, minutes[-1].moment, 9 * 3600)]  # fmt: skip
        for rule in cron8.RULES:
            expected, after = cron8.Rule(rule).moments(minutes), next_after(rule, zone)
            for start in starts:
                right = cron8.first_after(expected, start)
                if right is not None:
                    found = datetime.fromtimestamp(after(start), UTC)
                    assert found == datetime.fromtimestamp(right, UTC), (rule, start)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        # A step without an end goes to Saturday, and Sunday is not both 0 and 7
        ("0 0 * * 1/2", ["11-02", "11-04", "11-06", "11-09"]),
        ("0 0 * * sun/7", ["11-01", "11-08"]),
        ("0 0 * * fri-5/2", ["11-06", "11-13"]),
        ("0 0 * * 0-0/6", ["11-01", "11-08"]),
        ("0 0 */10 * *", ["10-31", "11-01", "11-11", "11-21"]),
        ("0 0 20/5 * *", ["11-20", "11-25", "11-30", "12-20"]),
        # Both days of the week and of the month, where one of the fields begins with a star
        ("0 0 */2 * mon", ["11-09", "11-23", "12-07"]),
        ("0 0 1-7 * */7", ["11-01", "12-06"]),
        ("0 0 1 JAN-mar/2 *", ["01-01", "03-01"]),
        ("0 0 last * *", ["10-31", "11-30", "12-31"]),
        ("0 0 L feb *", ["02-28"]),
        ("0 0 * * fri#2,1L", ["11-13", "11-30"]),
        ("@yearly", ["01-01"]),
    ],
)
def test_what_a_rule_may_say(rule: str, expected: list[str]):
    found = moments(rule, "UTC", "2026-10-30T12:00", len(expected))

    assert [moment[:5] for moment in found] == expected


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("* * * *", r"a rule has 5 fields .*'\* \* \* \*' has 4"),
        ("0 0 * * * *", "has 6"),
        ("60 * * * *", r"'60' is not a valid minute \(0 to 59\)"),
        ("1,,2 * * * *", r"'' is not a valid minute"),
        ("* 24 * * *", r"'24' is not a valid hour \(0 to 23\)"),
        ("* * 0 * *", r"'0' is not a valid day of the month \(1 to 31, or L\)"),
        ("* * * 13 *", r"'13' is not a valid month \(1 to 12, or jan to dec\)"),
        ("* * * january *", "'january' is not a valid month"),
        ("* * * * 1,8", r"'8' is not a valid day of the week \(0 to 7, or sun to sat\)"),
        ("* * * * 1-", "'1-' is not a valid day of the week"),
        ("* 22-2 * * *", r"'22-2': the hours run backwards \(write two parts, with a comma\)"),
        ("* * * oct-7 *", "'oct-7': the months run backwards"),
        ("* * * * sat-sun", "'sat-sun': the days of the week run backwards"),
        ("*/0 * * * *", r"'\*/0': a step of minutes is a number from 1 to 59"),
        ("*/90 * * * *", r"'\*/90': a step of minutes is a number from 1 to 59"),
        ("* * * * */x", r"'\*/x': a step of days of the week is a number"),
        ("0 0 30 feb *", "'0 0 30 feb .' never comes true"),
        ("0 0 31 4,6,9,11 *", "never comes true"),
    ],
)
def test_an_invalid_rule_is_explained_in_a_sentence(rule: str, message: str):
    with pytest.raises(ValueError, match=message):
        next_after(rule)


@pytest.mark.parametrize("zone", ["", "Europe", "..", "tzdata.zi", "Europe/Berlin\0", "Mars/Base"])
def test_an_unknown_time_zone_is_explained(zone: str):
    with pytest.raises(ValueError, match=r"there is no time zone .*such as 'Europe/Berlin'"):
        next_after("@daily", zone)


def test_time_zones_are_installed_where_the_machine_has_none(tmp_path: Path):
    import zoneinfo

    zoneinfo.reset_tzpath([tmp_path])
    ZoneInfo.clear_cache()
    try:
        assert moments("0 7 * * *", "Europe/Berlin", "2026-10-25", 1) == ["10-25 07:00+0100"]
    finally:
        zoneinfo.reset_tzpath()
        ZoneInfo.clear_cache()


def from_a_friday(rule: str, count: int, timezone: str = "UTC") -> list[str]:
    """The first moments of a rule after Friday, 30 October 2026, 12:00 UTC, by its own clock."""
    after, moment = next_after(rule, timezone), datetime(2026, 10, 30, 12, tzinfo=UTC).timestamp()
    found = []
    for _ in range(count):
        moment = after(moment)
        found.append(datetime.fromtimestamp(moment, ZoneInfo(timezone)).strftime("%a %d %H:%M"))
    return found


@pytest.mark.parametrize(
    ("rule", "first"),
    [
        ("*/20 * * * *", ["Fri 30 12:20", "Fri 30 12:40", "Fri 30 13:00"]),
        ("@daily", ["Sat 31 00:00", "Sun 01 00:00", "Mon 02 00:00"]),
        ("30 4 * * 1", ["Mon 02 04:30", "Mon 09 04:30", "Mon 16 04:30"]),
        ("0 0 * * 0", ["Sun 01 00:00", "Sun 08 00:00", "Sun 15 00:00"]),
        ("0 0 * * 7", ["Sun 01 00:00", "Sun 08 00:00", "Sun 15 00:00"]),
        ("0 9 * * 1-5", ["Mon 02 09:00", "Tue 03 09:00", "Wed 04 09:00"]),
        ("0 9 * * sat-sun", None),
        ("0 9 * * 5-7", ["Sat 31 09:00", "Sun 01 09:00", "Fri 06 09:00"]),
        ("0 9 * * 0-6/3", ["Sat 31 09:00", "Sun 01 09:00", "Wed 04 09:00"]),
        # Either of both, as cron has it
        ("0 0 1 * 1", ["Sun 01 00:00", "Mon 02 00:00", "Mon 09 00:00"]),
    ],
)
def test_rules_mean_what_they_mean_in_a_crontab(rule: str, first: list[str] | None):
    if first is None:
        with pytest.raises(ValueError, match="run backwards"):
            from_a_friday(rule, 1)
    else:
        assert from_a_friday(rule, 3) == first


def test_a_rule_goes_by_the_clock_of_its_time_zone():
    # By the clock of Berlin, which changed on 25 October
    assert from_a_friday("0 7 * * *", 2, "Europe/Berlin") == [
        "Sat 31 07:00",
        "Sun 01 07:00",
    ]
    after = next_after("0 7 * * *", "Europe/Berlin")
    first = after(datetime(2026, 10, 24, tzinfo=UTC).timestamp())
    assert [datetime.fromtimestamp(at, UTC).hour for at in (first, after(first))] == [5, 6]


@pytest.mark.parametrize(
    ("rule", "timezone", "message"),
    [
        ("every day", "UTC", "5 fields"),
        ("60 * * * *", "UTC", "60"),
        ("* * * * 8", "UTC", "'8' is not a valid day of the week"),
        ("* * * * moon", "UTC", "'moon' is not a valid day of the week"),
        ("0 0 30 2 *", "UTC", "never comes true"),
        ("* * * * *", "Mars/Olympus", "no time zone 'Mars/Olympus'"),
    ],
)
def test_the_settings_name_an_invalid_rule(rule: str, timezone: str, message: str):
    with pytest.raises(ValueError, match=message):
        next_after(rule, timezone)
