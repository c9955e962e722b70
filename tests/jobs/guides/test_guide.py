"""The guide to the jobs, run as it is written: its Python is one module, with real workers."""

from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import dramatiq
import pytest

from gifster import jobs
from gifster.jobs import recurring
from tests.docs_code import DOCS, python_blocks
from tests.machine import eventually

GUIDE = DOCS / "jobs.md"


def test_the_guide_works_as_it_is_written(
    broker_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    # Given a module of all its Python
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(recurring, "_declared", {})
    caplog.set_level("INFO", logger="gifster.jobs")
    source = "".join(python_blocks(GUIDE.read_text("utf-8")))
    assert source.count("redis://127.0.0.1:6379/0") == 1
    module: dict[str, object] = {}
    exec(source.replace("redis://127.0.0.1:6379/0", broker_url), module)
    guide = SimpleNamespace(**module)

    # When a worker runs the jobs, while nobody may call the partner
    worker = dramatiq.Worker(dramatiq.get_broker(), worker_threads=4)
    with guide.one_at_a_time.acquire():
        worker.start()
        eventually(lambda: "hold actor=call_partner" in caplog.text)
        assert guide.called == []
    eventually(lambda: jobs.Job.select().count() == 2 and len(jobs.find(jobs.State.DEAD)) == 1)
    worker.stop()

    # I expect one job to be scheduled for tomorrow, and one to be dead
    (later,) = jobs.find(jobs.State.SCHEDULED)
    assert later.arguments == ["Bob"]
    (dead,) = jobs.find(jobs.State.DEAD)
    assert "Dora cannot be reached" in dead.error
    assert guide.unlucky == ["Dora"]
    assert not [record for record in caplog.records if record.levelname == "CRITICAL"]
    # and each throttled job to be done once and not to count as failed
    assert Counter(guide.called) == Counter(range(12))
    assert "fail actor=call_partner" not in caplog.text
    hours = jobs.history(jobs.HOUR_S, 2)  # one may have ended meanwhile
    assert (sum(each.done for each in hours), sum(each.failed for each in hours)) == (14, 1)
    # and the recurring jobs to have their next times
    jobs.enqueue_recurring(recurring.declared_recurring())
    assert {row.name: row.rule for row in jobs.recurring_jobs()} == {
        "greet-hourly": "@hourly",
        "monday": "0 7 * * mon (Europe/Berlin)",
        "often": "every 90 s",
    }
    guide.db.close()
