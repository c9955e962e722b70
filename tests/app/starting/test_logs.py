"""Foreign text in logs and on terminals: it forges no line, and moves no cursor."""

import io
import json
import logging
import os
import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from click.testing import CliRunner

from gifster.app import settings
from gifster.app.boot import configure
from gifster.app.database import db
from gifster.app.logs import OneLineFormatter, escaped, log_in_lines
from gifster.cli import cli, dev_group
from gifster.jobs import Job, printer, process_group
from tests.machine import eventually
from tests.stack import Stack

ESC = "\x1b[2J\x1b]0;owned\x07"
FORGED = "2030-01-01 00:00:00,000 ERROR gifster.app.accounts forged"
NASTY = f"a\n{FORGED}\r{ESC}\x9b31m\u2028\u202ecod\udcff"


def lines(*records: tuple[str, object]) -> list[str]:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(OneLineFormatter("%(levelname)s %(message)s"))
    logger = logging.Logger("test")
    logger.addHandler(handler)
    for text, value in records:
        logger.info(text, value)
    return stream.getvalue().splitlines()


def test_a_record_is_one_line_whatever_its_values():
    [line] = lines(("path=%s", NASTY))

    assert line == (
        f"INFO path=a\\n{FORGED}\\r\\u001b[2J\\u001b]0;owned\\u0007\\u009b31m\\u2028\\u202ecod"
        "\\udcff"
    )
    family = "\N{MAN}\u200d\N{WOMAN}"
    assert escaped(f"Zoë 你好 {family} عربي") == f"Zoë 你好 {family} عربي"


def test_a_traceback_is_indented_so_that_none_of_its_lines_is_a_record():
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logger = logging.Logger("test")
    logger.addHandler(handler)
    handler.setFormatter(OneLineFormatter("%(levelname)s %(message)s"))
    try:
        int(NASTY)
    except ValueError:
        logger.exception("failed")
        logger.exception("failed", exc_info=OSError(NASTY))

    first, traceback, *rest = stream.getvalue().splitlines()
    assert first == "ERROR failed"
    assert traceback == "    Traceback (most recent call last):"
    assert [line for line in rest if not line.startswith("    ")] == ["ERROR failed"]
    assert sum(FORGED in line for line in rest) == 2
    assert "\x1b" not in stream.getvalue()


def test_handlers_of_others_keep_their_format(monkeypatch: pytest.MonkeyPatch):
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("[{levelname}] {message}", style="{"))
    logger = logging.getLogger("_granian")
    monkeypatch.setattr(logger, "handlers", [handler])
    monkeypatch.setattr(logging.root, "handlers", [])

    log_in_lines()
    logger.warning("a\nb")

    assert stream.getvalue() == "[WARNING] a\\nb\n"


def test_neither_a_request_nor_a_job_forges_a_line_of_a_log(new_stack: Callable[..., Stack]):
    # Given a database in which a table is missing, so that requests are errors
    stack = new_stack()
    stack.start_web()
    with sqlite3.connect(stack.var / "gifster.db") as database:
        database.execute("ALTER TABLE gif RENAME TO away")

    # When a path, a query and the arguments of a job have line feeds
    text = f"a\n{FORGED}{ESC}"
    assert stack.client.get(f"/api/gifs/{quote(text)}").status_code == 404
    assert stack.client.get("/api/gifs", params={"forged": text}).status_code == 500
    (stack.folder / "worker.py").write_text(
        "import dramatiq, gifster.actors\n"
        "@dramatiq.actor(max_retries=0)\n"
        "def fail(what): raise ValueError(what)\n"
    )
    code = f"import worker; worker.fail.send({text!r})"
    assert stack.run("python", "-c", code).returncode == 0
    stack.environment["PYTHONPATH"] = str(stack.folder)
    stack.start("dramatiq", "worker", "--processes", "1", "--threads", "1")

    # I expect their text to be within lines of ours
    eventually(lambda: " fail actor=fail" in stack.log("dramatiq-worker"))
    assert "forged" in stack.log("dramatiq-worker")
    for log in (stack.log("gifster-web"), stack.log("dramatiq-worker")):
        assert not [line for line in log.splitlines() if line.startswith("2030-")]
        assert "\x1b" not in log


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broker_url: str
) -> Iterator[Callable[..., str]]:
    """Runs a command in this process, in the folder of an installation; returns its output."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIFSTER_BROKER__URL", broker_url)

    def run(*command: str) -> str:
        return CliRunner().invoke(cli, command).output

    run("migrate", "--new")
    configure(settings.load())
    yield run
    db.obj.close_all()


def harmless(output: str) -> bool:
    """Whether an output moves no cursor, and foreign text begins none of its lines."""
    if set(output) & set("\x1b\x07\x9b\u2028\u202e\r"):
        return False
    return not any(line.startswith("2030-") for line in output.splitlines())


def test_the_command_line_shows_no_escape_sequences(run: Callable[..., str]):
    # Given a job whose arguments, error and actor have escape sequences
    job = Job(
        actor=f"store{ESC}[red]",
        queue="default",
        arguments=[NASTY.replace("\udcff", "")],
        send_at=2e12,
        failed_at=1.0,
        error=f"ValueError({ESC})",
        traceback=f"Traceback\n  File x\nValueError: {ESC}",
    )
    with db.connection_context():
        job.save(force_insert=True)

    for command in (
        ["jobs", "list"],
        ["jobs", "list", "--json"],
        ["jobs", "show", job.id],
        ["jobs", "show", f"none{ESC}"],
        ["jobs", "quiet", f"none{ESC}"],
        ["jobs", "pause", f"none{ESC}"],
        ["admins", "add", f"ann{ESC}@example.org"],
    ):
        output = run(*command)
        assert harmless(output), command
        assert "\\u001b[2J" in output or "\\x1b[2J" in output, command
    shown = run("jobs", "show", job.id)
    assert "[red]" in shown
    assert "Traceback\n  File x\nValueError" in shown
    [listed] = json.loads(run("jobs", "list", "--json"))
    assert listed["actor"] == job.actor


def test_links_with_odd_names_are_listed_in_one_line(run: Callable[..., str]):
    Path("var/store").mkdir(parents=True)
    Path(f"var/store/a\n{FORGED}{ESC}[red]").symlink_to("nowhere")

    output = run("fsck", "--older-than", "0")

    assert "[red]" in output
    assert harmless(output)


def test_the_doctor_shows_no_escape_sequences(
    run: Callable[..., str], monkeypatch: pytest.MonkeyPatch
):
    def check(transport: object) -> str:
        raise RuntimeError(f"550 {ESC} [red]no")

    monkeypatch.setattr("gifster.app.mailers.FileTransport.check", check)

    output = run("doctor")

    assert f"550 {escaped(ESC)} [red]no" in output
    assert harmless(output)


@pytest.mark.parametrize("say", [dev_group.say, printer.say])
def test_a_supervisor_passes_no_escape_sequences_on(
    capfd: pytest.CaptureFixture[str], say: printer.Say
):
    said = ""

    def has_said() -> bool:
        nonlocal said
        said += capfd.readouterr().out
        return "owned" in said

    command = [sys.executable, "-c", f"print({f'a{ESC}'!r})"]
    process_group.Child("worker", command, os.environ, lambda child: True, say).start()
    eventually(has_said)

    assert harmless(said)
