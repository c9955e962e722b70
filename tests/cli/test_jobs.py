"""`gifster jobs drop` and `clear`, and names that commands do not know, in this process."""

import gc
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gifster import jobs
from gifster.app import settings
from gifster.app.boot import configure, connect_broker
from gifster.app.database import db
from gifster.cli import cli
from gifster.jobs import Job, admin


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broker_url: str) -> Iterator[list[str]]:
    """The ids of four jobs in an installation, of which the last one runs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIFSTER_BROKER__URL", broker_url)
    CliRunner().invoke(cli, ["migrate", "--new"])
    loaded = settings.load()
    configure(loaded)
    broker = connect_broker(loaded)
    with db.connection_context():
        ids = [
            jobs.enqueue("charge", number, queue=queue).id
            for number, queue in enumerate(["default", "carrierwave", "carrierwave", "carrierwave"])
        ]
        leased = {"leased_by": "shop:1:x", "send_at": time.time() + 60}
        Job.update(**leased).where(Job.id == ids[3]).execute()
    yield ids
    db.obj.close_all()
    broker.close()


def run(*arguments: str, answer: str = "") -> Result:
    return CliRunner().invoke(cli, ["jobs", *arguments], input=answer)


def left() -> set[str]:
    with Job._meta.database.connection_context():
        return {job.id for job in Job.select()}


def test_waiting_jobs_are_dropped_by_their_ids_and_running_ones_are_not(made: list[str]):
    assert run("drop", made[0]).output == f"dropped {made[0]}\n"

    refused = run("drop", made[3])
    assert refused.exit_code == 1
    assert f"job {made[3]} is running in shop:1:x: wait until it ends" in refused.output
    assert left() == set(made[1:])


def test_a_queue_is_cleared_after_a_question(made: list[str]):
    clear = ["clear", "waiting", "--queue", "carrierwave"]

    kept = run(*clear, answer="n\n")
    assert (kept.exit_code, "nothing was deleted" in kept.output) == (1, True)
    assert left() == set(made)
    assert "Delete 2 waiting jobs? [y/N]" in run(*clear, answer="y\n").output
    assert left() == {made[0], made[3]}
    assert run(*clear, "--yes").output == "dropped 0 waiting jobs\n"
    assert run("clear", "waiting", "--yes").output == "dropped 1 waiting job\n"
    assert run("clear", "running").exit_code == 2
    misspelt = run("clear", "waiting", "--queue", "defualt", "--yes")
    assert "there is no queue defualt. There are: " in misspelt.output
    assert left() == {made[3]}


def test_a_wrong_name_is_refused_also_where_there_is_nothing_to_do(made: list[str]):
    for command, said in {
        ("versions", "recreate", "--only", "nope"): "ImageUploader has no version 'nope'",
        ("versions", "recreate", "nope"): "there is no GIF nope",
        ("export", "out.zip", "--tag", "nope"): "no GIF of these has the tag nope",
    }.items():
        refused = CliRunner().invoke(cli, command)
        assert (refused.exit_code, said in refused.output) == (1, True), refused.output
    assert not Path("out.zip").exists()


@pytest.mark.parametrize("command", ["retry", "drop"])
def test_dead_jobs_that_somebody_else_retries_meanwhile_are_left_out(
    made: list[str], monkeypatch: pytest.MonkeyPatch, command: str
):
    # Given two dead jobs, of which the first one is gone when its turn comes
    with db.connection_context():
        Job.update(failed_at=1.0, error="x").where(Job.id.in_(made[:2])).execute()
    change, gone = getattr(jobs, command), []

    def meanwhile(job_id: str) -> object:
        if not gone:
            gone.append(job_id)
            Job.delete().where(Job.id == job_id).execute()
        return change(job_id)

    monkeypatch.setattr(jobs, command, meanwhile)
    done = run(command, "--all")

    # I expect the other one to be done
    assert done.exit_code == 0
    [other] = set(made[:2]) - set(gone)
    assert other in done.output


@pytest.mark.parametrize("command", ["retry", "drop"])
def test_all_dead_jobs_are_read_a_few_at_a_time(
    made: list[str], monkeypatch: pytest.MonkeyPatch, command: str
):
    # Given more dead jobs than are in memory at a time
    monkeypatch.setattr(admin, "MAX_LIMIT", 1)
    with db.connection_context():
        made += [jobs.enqueue("charge", number, queue="default").id for number in range(8)]
        Job.update(failed_at=5.0, leased_by=None).execute()
    made_by, in_memory = Job.__init__, []

    def counted(job: Job, *args: Any, **options: Any) -> None:
        in_memory.append(sum(type(each) is Job for each in gc.get_objects()))
        made_by(job, *args, **options)

    gc.collect()
    before = sum(type(each) is Job for each in gc.get_objects())
    monkeypatch.setattr(Job, "__init__", counted)

    # I expect the command to change all of them
    said = run(command, "--all").output.splitlines()
    assert {line.split()[-1] for line in said} == set(made)
    assert max(in_memory) - before < 4
