"""`python -m gifster.jobs`: an application's workers and scheduler by one command."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import dramatiq.broker
import psutil
import pytest

from gifster import jobs
from gifster.jobs import command, recurring
from tests import databases
from tests.combinations import on_sqlite
from tests.machine import alive, eventually

TASKS = """
import os
import signal

import dramatiq

from gifster import jobs
from tests import databases

db = databases.connect({database!r})
db.bind(jobs.TABLES)
jobs.connect({broker!r}, lease_s=2)


@dramatiq.actor(queue_name="notes")
def note(text):
    with open("notes.txt", "a") as notes:
        notes.write(text + "\\n")


@dramatiq.actor
def hang():
    with open("notes.txt", "a") as notes:
        notes.write("hang\\n")
    signal.pause()


jobs.declare_recurring({{"often": jobs.every(1, "note", ["tick"])}})
"""

# The guide's application runs on PostgreSQL: test_recipes.py.


@pytest.fixture
def folder(
    tmp_path: Path, database_url: str, broker_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """The folder of an application whose module is `tasks`."""
    (tmp_path / "app").mkdir()
    monkeypatch.chdir(tmp_path / "app")
    monkeypatch.syspath_prepend(str(tmp_path / "app"))
    monkeypatch.setattr(recurring, "_declared", {})
    Path("tasks.py").write_text(TASKS.format(database=database_url, broker=broker_url))
    yield tmp_path / "app"
    sys.modules.pop("tasks", None)


class Running:
    """A running `python -m gifster.jobs`."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder, self.log_path = folder, folder / "run.log"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gifster.jobs", *arguments],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])},
            stdin=subprocess.DEVNULL,
            stdout=self.log_path.open("ab"),
            stderr=subprocess.STDOUT,
        )

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def is_ready(self) -> bool:
        assert self.process.poll() is None, self.log
        return "tasks is running" in self.log

    def notes(self) -> list[str]:
        path = self.folder / "notes.txt"
        return path.read_text().split() if path.exists() else []

    def below(self) -> list[psutil.Process]:
        """The processes that it started, and those that they started."""
        with suppress(psutil.NoSuchProcess):
            return psutil.Process(self.process.pid).children(recursive=True)
        return []

    def child(self, name: str) -> psutil.Process:
        """The worker's main process, or the scheduler."""
        children = psutil.Process(self.process.pid).children()
        (found,) = [child for child in children if name in child.cmdline()]
        return found


@pytest.fixture
def start(folder: Path) -> Iterator[Callable[..., Running]]:
    started: list[Running] = []

    def start(*arguments: str) -> Running:
        started.append(Running(folder, *arguments))
        return started[-1]

    yield start
    for running in started:
        for process in [*running.below(), running.process]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        running.process.wait()


@pytest.fixture
def migrated(database_url: str) -> Iterator[None]:
    database = databases.connect(database_url)
    database.bind(jobs.TABLES)
    with database.connection_context():
        jobs.migrate(database)
        yield
    database.close_all()


@pytest.mark.long
@on_sqlite
def test_one_command_runs_jobs_restarts_what_dies_and_stops(
    migrated: None, start: Callable[..., Running]
):
    # Given a job that no broker has, because this process has none
    jobs.enqueue("note", "early", queue="notes")
    jobs.Job.update(send_at=1).execute()

    # When I run the application's jobs, I expect it to be done, and the recurring one
    running = start("run", "tasks", "--threads", "2")
    eventually(running.is_ready)
    eventually(lambda: {"early", "tick"} <= set(running.notes()))

    # When worker and scheduler are killed, I expect them to be there again
    for name in ("worker", "scheduler"):
        running.child(name).kill()
        eventually(lambda name=name: f"starting {name} again" in running.log)
    before = len(running.notes())
    eventually(lambda: len(running.notes()) > before)

    # And SIGTSTP to make the workers quiet, until SIGCONT
    running.process.send_signal(signal.SIGTSTP)
    eventually(lambda: any(worker.quiet for worker in jobs.workers()))
    running.process.send_signal(signal.SIGCONT)
    eventually(lambda: not any(worker.quiet for worker in jobs.workers()))

    # And SIGTERM to stop all of it
    processes = running.below()
    assert len(processes) >= 3
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(60) == 0
    assert not any(alive(process.pid) for process in processes)
    assert "Traceback" not in running.log


@on_sqlite
def test_a_killed_command_leaves_no_process_and_its_jobs_come_back(
    migrated: None, start: Callable[..., Running]
):
    # Given a job that runs for ever
    running = start("run", "tasks", "--grace", "0.1")
    eventually(running.is_ready)
    jobs.enqueue("hang")
    jobs.Job.update(send_at=1).where(jobs.Job.actor == "hang").execute()
    eventually(lambda: "hang" in running.notes())
    processes = running.below()

    # When the command is killed
    running.process.kill()
    running.process.wait()

    # I expect no process to be left, and the job to be free for another worker
    eventually(lambda: not any(alive(process.pid) for process in processes))
    job = jobs.Job.get(jobs.Job.actor == "hang")
    assert job.leased_by is None


@on_sqlite
def test_old_tables_end_the_command_with_what_to_do(start: Callable[..., Running]):
    running = start("run", "tasks")

    assert running.process.wait(60) == 1
    assert (
        "scheduler | gifster.jobs: the database has no table outbox, outbox_identity, worker, "
        "paused_queue, tally, recurring_job, clock_span: call gifster.jobs.migrate(database)"
    ) in running.log
    assert "scheduler cannot start (exit status 1): its lines above say why" in running.log
    assert "Traceback" not in running.log


def run(*arguments: str) -> int:
    return command.main(arguments)


def test_the_tables_are_migrated_by_command(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert run("migrate", "tasks") == 0
    assert "applied 0001_outbox\n" in capsys.readouterr().out

    assert run("migrate", "tasks") == 0
    assert capsys.readouterr().out == "the tables are up to date\n"


def test_the_migrations_are_printed(capsys: pytest.CaptureFixture[str]):
    assert run("sql", "sqlite", "--after", "5") == 0

    printed = capsys.readouterr().out
    assert printed.startswith("-- 0006_groups\n-- The group of a job")
    assert 'ALTER TABLE "outbox" ADD COLUMN "held" INTEGER NOT NULL DEFAULT 0;\n' in printed


@on_sqlite
@pytest.mark.parametrize(
    ("module", "said"),
    [
        (None, "there is no module tasks here"),
        ("", "tasks sets no broker: call jobs.connect(url) in it"),
        ("{connect}", "the outbox has no database: call database.bind(gifster.jobs.TABLES)"),
        (
            '{connect}{all}\njobs.declare_recurring({{"a": jobs.cron("@daily", "nobody")}})',
            "there is no actor 'nobody' in this process (known: none)",
        ),
        (
            '{connect}{job}\njobs.declare_recurring({{"a": jobs.every(5, "nobody")}})',
            "only the outbox has a database: call database.bind(gifster.jobs.TABLES)",
        ),
    ],
)
def test_a_module_that_lacks_something_is_refused(
    folder: Path,
    migrated: None,
    broker_url: str,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    module: str | None,
    said: str,
):
    monkeypatch.setattr(dramatiq.broker, "global_broker", None)
    for table in jobs.TABLES:
        table.bind(None)
    bind = f"from tests import databases\ndb = databases.connect({database_url!r})\n"
    if module is None:
        Path("tasks.py").unlink()
    else:
        text = "from gifster import jobs\n" + module.format(
            connect=f"jobs.connect({broker_url!r})\n",
            all=f"{bind}db.bind(jobs.TABLES)\n",
            job=f"{bind}jobs.Job.bind(db)\n",
        )
        Path("tasks.py").write_text(text)

    assert run("scheduler", "tasks") == 1

    assert said in capsys.readouterr().err


@pytest.mark.parametrize("name", ["run", "worker"])
@pytest.mark.parametrize(
    "options",
    [
        ("--threads", "0"),
        ("--threads=-3",),
        ("--processes", "0"),
        ("--processes", "two"),
        ("--grace=-1",),
        ("--grace", "nan"),
    ],
)
def test_numbers_out_of_range_are_refused(
    name: str, options: tuple[str, ...], capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit) as ended:
        command.main([name, "tasks", *options])

    assert ended.value.code == 2
    assert "write a number" in capsys.readouterr().err
