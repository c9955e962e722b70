"""The application of docs/jobs.md: its files, its commands, its unit and its Procfile are run as
they are written.

A fence's first word is its language; `file=` names the file that it is.
"""

import configparser
import os
import shutil
import subprocess
import sys
from pathlib import Path

import dramatiq
import psycopg
import pytest
from playhouse.migrations import Runner

from gifster import jobs
from tests import databases
from tests.combinations import on_postgresql, on_sqlite, only_in_ci
from tests.docs_code import DOCS, ROOT, blocks
from tests.jobs.conftest import Outbox
from tests.machine import BIN, eventually

GUIDE = DOCS / "jobs.md"
BLOCKS = blocks(GUIDE.read_text("utf-8"))
FILES = {what.removeprefix("file="): text for _, what, text in BLOCKS if what}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with all files of the guide."""
    for name, text in FILES.items():
        path = tmp_path / "srv" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "srv"


def unit() -> configparser.SectionProxy:
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str
    parser.read_string(FILES["myapp-jobs.service"])
    return parser["Service"]


@only_in_ci("3 s: it starts what systemd would start")
@pytest.mark.long
@on_postgresql
def test_the_application_runs_as_its_unit_says(folder: Path, database_url: str, broker_url: str):
    environment = os.environ | {
        "DATABASE_URL": database_url.replace("postgresql://", "postgresql+pool://"),
        "BROKER_URL": broker_url,
        "PYTHONPATH": str(ROOT),
    }

    def command(line: str) -> list[str]:
        program, *arguments = line.split()
        assert program == f"{unit()['WorkingDirectory']}/.venv/bin/python"
        return [sys.executable, *arguments]

    def run(*line: str) -> None:
        subprocess.run(line, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)

    # Given the tables, when the unit is started and somebody orders
    run(*command(unit()["ExecStartPre"]))
    log = folder / "jobs.log"
    running = subprocess.Popen(
        command(unit()["ExecStart"]),
        cwd=folder,
        env=environment,
        stdout=log.open("wb"),
        stderr=subprocess.STDOUT,
    )
    try:
        run(sys.executable, "-c", "from myapp.shop import order; order(7)")

        # I expect a receipt, and a recurring job with its next time
        eventually(lambda: "worker    | the receipt of order 7" in log.read_text())
        database = databases.connect(database_url)
        with database.bind_ctx(jobs.TABLES), database.connection_context():
            eventually(lambda: jobs.Job.select().count() == 0)
            rules = eventually(lambda: [row.rule for row in jobs.recurring_jobs()])
            assert rules == ["0 7 * * mon (Europe/Berlin)"]
        database.close_all()
    finally:
        running.terminate()
        status = running.wait(60)
    assert status == 0
    assert "Traceback" not in log.read_text()


def test_the_procfile_starts_what_the_unit_starts():
    _, started = unit()["ExecStart"].split(maxsplit=1)
    assert FILES["Procfile"] == f"jobs: python {started}\n"


def test_systemd_takes_the_unit(tmp_path: Path):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd is installed")
    (tmp_path / ".venv").symlink_to(BIN.parent)
    text = FILES["myapp-jobs.service"].replace("/srv/myapp", str(tmp_path))
    (tmp_path / "myapp-jobs.service").write_text(text.replace("User=myapp", "User=root"))

    done = subprocess.run(
        ["systemd-analyze", "verify", str(tmp_path / "myapp-jobs.service")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert (done.returncode, [x for x in done.stderr.splitlines() if "myapp" in x]) == (0, [])


@on_postgresql
def test_other_tools_take_the_tables(folder: Path, database_url: str):
    # Given the SQL that the guide prints, for all migrations and for the last ones
    (script,) = [text for language, what, text in BLOCKS if (language, what) == ("sh", "")]
    path = f"{BIN}:{os.environ['PATH']}"
    subprocess.run(["sh", "-ec", script], cwd=folder, env=os.environ | {"PATH": path}, check=True)

    # When a tool runs it, I expect nothing to be missing, and another run to do no harm
    with psycopg.connect(database_url) as connection:
        for name in ("V7__jobs.sql", "V12__jobs.sql", "V7__jobs.sql"):
            connection.execute((folder / name).read_text())
    database = databases.connect(database_url)
    with database.connection_context():
        assert jobs.pending_migrations(database) == []

        # And the migration for playhouse to have nothing to do
        assert Runner(database, str(folder / "migrations")).up() == ["0003_jobs"]
    database.close_all()


@on_sqlite
def test_the_namespace_keeps_queues_apart(outbox: Outbox, folder: Path):
    source = (folder / "namespace.py").read_text()
    assert source.count("redis://127.0.0.1:6379/0") == 1
    exec(source.replace("redis://127.0.0.1:6379/0", outbox.broker_url))

    jobs.enqueue("work")

    assert outbox.queued() == 0
    assert outbox.client.llen("shop:default") == 1
    dramatiq.get_broker().close()
