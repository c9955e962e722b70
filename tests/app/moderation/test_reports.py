"""Reports of readers, and who decides about them."""

from datetime import timedelta

import pytest

from gifster.app import library, tokens
from gifster.app.access import STRANGER, Viewer
from gifster.app.errors import Conflict, Invalid, NotFound
from gifster.app.models import User, now
from gifster.app.moderation import reports
from gifster.app.moderation.reports import MOST_OPEN, Report, Verdict
from tests.app.moderation.conftest import gif_of, logged, moderate


def test_readers_report_what_they_see(people: dict[str, User]):
    ann, bob = people["ann"], people["bob"]
    gif = gif_of(ann)
    private = gif_of(ann, visibility="private")

    reports.report(gif.id, STRANGER, None, "spam")
    reports.report(gif.id, Viewer(bob.id), bob, "rights", "That\nis me")
    reports.report(gif.id, Viewer(bob.id), bob, "other", "Still there")  # it is open already
    with pytest.raises(NotFound):
        reports.report(private.id, Viewer(bob.id), bob, "spam")
    for reason, text, code in [
        ("rude", "", "reason_invalid"), ("", "", "reason_invalid"),
        ("spam", "a" * 1001, "reason_too_long"), ("spam", "a\0b", "reason_invalid"),
    ]:  # fmt: skip
        with pytest.raises(Invalid) as refused:
            reports.report(gif.id, STRANGER, None, reason, text)
        assert refused.value.code == code

    (newer, older), _ = reports.open_reports()
    assert (newer.user, newer.reason, newer.text) == (bob, "rights", "That is me")
    assert (older.user, older.reason, older.text) == (None, "spam", "")
    assert reports.count_open() == 2


def test_a_crowd_of_reports_about_a_gif_is_no_more_than_some(people: dict[str, User]):
    gif = gif_of(people["ann"])
    for _ in range(MOST_OPEN + 5):
        reports.report(gif.id, STRANGER, None, "spam")
    assert reports.count_open() == MOST_OPEN


def test_a_report_is_closed_once(people: dict[str, User]):
    gif, mo = gif_of(people["ann"]), people["mo"]
    reports.report(gif.id, STRANGER, None, "spam")
    (report,), _ = reports.open_reports()

    for verdict in ("", "open", "RESOLVED"):
        with pytest.raises(Invalid):
            reports.close(report.id, verdict, mo)
    closed = reports.close(report.id, "dismissed", mo, "it is a cat")
    assert closed.verdict == Verdict.DISMISSED
    with pytest.raises(Conflict):
        reports.close(report.id, "resolved", mo)
    for missing in ("x" * 12, "", "a\0b", "ab"):
        with pytest.raises(NotFound):
            reports.close(missing, "resolved", mo)
    assert reports.open_reports() == ([], None)
    assert logged() == [("dismiss", "Mo", "it is a cat")]

    Report.update(closed_at=now() - timedelta(days=181)).execute()
    assert reports.forget_closed() == 1


def test_hiding_a_gif_resolves_its_reports(people: dict[str, User]):
    gif, other = gif_of(people["ann"]), gif_of(people["ann"])
    for one in (gif, gif, other):
        reports.report(one.id, STRANGER, None, "spam")

    moderate(gif, "hide", people["mo"])

    (left,), _ = reports.open_reports()
    assert left.gif == other
    assert logged() == [("hide", "Mo", "rude"), ("resolve", "Mo", "rude")]
    reports.close_reports(other.id, "dismissed", people["mo"])
    assert reports.count_open() == 0
    with pytest.raises(NotFound):
        reports.close_reports("a\0", "dismissed", people["mo"])


def test_reports_go_with_their_gif_and_outlive_who_reported_it(people: dict[str, User]):
    gif, bob = gif_of(people["ann"]), people["bob"]
    reports.report(gif.id, Viewer(bob.id), bob, "spam")
    tokens.log_out_everywhere(bob)
    bob.delete_instance()
    assert reports.open_reports()[0][0].user is None
    library.delete_gif(gif.id, people["ann"])
    assert Report.select().count() == 0
