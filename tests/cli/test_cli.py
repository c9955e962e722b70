"""The `gifster` command: doctor, migrate, demo, and its errors, never with a traceback."""

import json
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from gifster.cli.root import cli
from tests.combinations import only_in_ci
from tests.machine import BIN, eventually
from tests.stack import Stack


@pytest.fixture
def bare(tmp_path: Path, broker_url: str) -> Stack:
    """An empty folder."""
    return Stack(tmp_path, broker_url)


def test_doctor_passes_on_a_new_installation(new_stack: Callable[..., Stack]):
    result = new_stack().run("gifster", "doctor")

    assert result.returncode == 0, result.stdout
    lines = [line.split() for line in result.stdout.splitlines()]
    assert [line[:2] for line in lines] == [
        [name, "warning" if name in ("workers", "scheduler") else "ok"]
        for name in (
            "broker",
            "database",
            "cache",
            "store",
            "privacy",
            "mail",
            "clock",
            "workers",
            "scheduler",
            "accounts",
        )
    ]
    assert lines[0][2] == "PONG"
    assert lines[1][2] == "SQLite"


ENQUEUE = """
from gifster import jobs
from gifster.app import boot, settings
from gifster.app.database import db
boot.boot(settings.load())
with db.connection_context():
    jobs.enqueue("nobody_knows_it", queue="carrierwave")
    jobs.Job.update(created_at=1, send_at=1).execute()
"""


def test_doctor_misses_workers_and_a_scheduler_while_jobs_wait(
    new_stack: Callable[..., Stack],
):
    # Given a job that has waited for a long time
    stack = new_stack()
    assert stack.run("python", "-c", ENQUEUE).returncode == 0
    result = stack.run("gifster", "doctor")
    assert result.returncode == 1
    assert "1 job waits in carrierwave" in result.stdout
    assert "start one: `gifster scheduler`" in result.stdout

    # I expect both to be found when they run
    stack.start_worker()
    stack.start("gifster", "scheduler")
    eventually(lambda: "nothing is overdue" in stack.run("gifster", "doctor").stdout)
    checked = stack.run("gifster", "doctor")
    assert checked.returncode == 0, checked.stdout
    assert "1 running, with 2 threads" in checked.stdout

    # And a job whose actor no worker knows to be kept, with the reason
    eventually(lambda: "ActorNotFound" in stack.run("gifster", "jobs", "list").stdout)


@pytest.mark.parametrize(
    ("variable", "value", "name"),
    [
        ("GIFSTER_BROKER__URL", "redis://127.0.0.1:1/0", "broker"),
        ("GIFSTER_BROKER__URL", "", "broker"),
        ("GIFSTER_DATABASE__URL", "postgresql://nobody@127.0.0.1:1/none", "database"),
        ("GIFSTER_DATABASE__URL", "sqlite:///other.db", "database"),
        ("GIFSTER_CACHE__ROOT", "/proc/none", "cache"),
        ("GIFSTER_STORE__ROOT", "/proc/none", "store"),
        ("GIFSTER_MAIL__URL", "smtp://127.0.0.1:1", "mail"),
    ],
)
def test_doctor_names_the_failing_check(
    new_stack: Callable[..., Stack], variable: str, value: str, name: str
):
    stack = new_stack()
    stack.environment[variable] = value

    result = stack.run("gifster", "doctor")

    assert result.returncode == 1
    failing = [line.split()[0] for line in result.stdout.splitlines() if "FAILS" in line]
    assert failing == [name]
    assert "Traceback" not in result.stdout + result.stderr


def test_migrate_can_be_run_again(bare: Stack):
    assert "applied 0001_first_tables" in bare.run("gifster", "migrate").stdout
    assert "up to date" in bare.run("gifster", "migrate").stdout


@pytest.mark.parametrize(
    "command", ["web", "worker", "scheduler", "migrate", "doctor", "dev", "demo"]
)
def test_wrong_settings_are_a_clear_error_everywhere(bare: Stack, command: str):
    bare.environment["GIFSTER_WEB__PROT"] = "1"

    result = bare.run("gifster", command)

    assert result.returncode == 1
    assert "web.prot: no such key" in result.stderr
    assert "Traceback" not in result.stdout + result.stderr


def test_workers_without_settings_say_what_to_do(bare: Stack):
    del bare.environment["GIFSTER_BROKER__URL"]

    result = bare.run("dramatiq", "gifster.actors", "--queues", "default", "carrierwave")

    assert result.returncode != 0
    assert "run `make dev`, or set broker.url" in result.stdout + result.stderr


def test_workers_in_the_wrong_folder_say_where_they_looked(bare: Stack):
    result = bare.run("dramatiq", "gifster.actors", "--queues", "default", "carrierwave")

    assert result.returncode != 0
    assert f"there is no database in {bare.folder}/var/gifster.db" in result.stdout + result.stderr
    assert not bare.var.exists()


@pytest.mark.parametrize("command", [["--help"], ["jobs", "queues"]], ids=" ".join)
def test_output_for_which_there_is_no_room_is_told_in_a_line(
    new_stack: Callable[..., Stack], command: list[str]
):
    stack = new_stack()

    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(
            [BIN / "gifster", *command], cwd=stack.folder, env=stack.environment, check=False,
            stdout=full, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    assert (ended.returncode, ended.stderr) == (1, "gifster: No space left on device\n")


def test_the_demo_of_a_port_where_something_else_listens_is_refused(bare: Stack):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection = server.accept()[0]
            connection.sendall(b"-ERR unknown command\r\n")
            connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        refused = bare.run("gifster", "demo", "--port", str(server.getsockname()[1]))
        thread.join(60)

    assert refused.returncode == 1
    assert "gifster: no Gifster answers on 127.0.0.1:" in refused.stderr
    assert "Traceback" not in refused.stderr


@only_in_ci("four seconds of CPU; others upload and wait daily")
def test_the_demo_uploads_gifs_that_become_ready(stack: Stack):
    before = len(stack.client.get("/api/gifs", params={"tag": "demo"}).json()["items"])

    result = stack.run("gifster", "demo", "--count", "4")

    assert result.returncode == 0, result.stderr

    def items() -> list[dict]:
        return stack.client.get("/api/gifs", params={"tag": "demo"}).json()["items"]

    eventually(lambda: len(items()) == before + 4)
    eventually(lambda: all(item["state"] == "ready" for item in items()))
    assert all(item["image"]["frames"] == 24 for item in items())


def test_the_demo_says_when_nothing_answers(bare: Stack):
    result = bare.run("gifster", "demo", "--port", "1")

    assert result.returncode == 1
    # One line, without an empty progress bar before it
    assert result.stderr.startswith("gifster: no Gifster answers on 127.0.0.1:1 ")
    assert "start one with `make dev`, or name the port of the one that runs" in result.stderr
    assert result.stdout == ""


def test_the_demo_says_what_opens_a_closed_library(new_stack: Callable[..., Stack]):
    closed = new_stack(GIFSTER_AUTH__READ="members", GIFSTER_AUTH__ANONYMOUS_UPLOADS="true")

    closed.start_web()
    result = closed.run("gifster", "demo", "--count", "1")

    assert result.returncode == 1
    assert "GIFSTER_AUTH__READ=public" in result.stderr


def test_every_command_has_a_summary_that_fits():
    import gifster.cli  # noqa: F401 registers the commands

    def helps(*path: str) -> Iterator[str]:
        group = cli
        for name in path:
            group = group.commands[name]
        if isinstance(group, click.Group):
            yield CliRunner().invoke(cli, [*path, "--help"], terminal_width=80).stdout
            for name in group.commands:
                yield from helps(*path, name)

    listed = [
        line for each in helps() for line in each.partition("Commands:")[2].splitlines() if line
    ]
    commands = {line.split()[0] for line in listed}
    assert {"dev", "web", "worker", "demo", "clear", "second-factor-off"} <= commands
    assert [line for line in listed if line.endswith("...") or len(line.split()) < 3] == []


@pytest.mark.parametrize(
    "command", [["admins", "list"], ["fsck"], ["jobs", "list"], ["tokens", "list", "a@b.c"]]
)
def test_commands_say_where_they_looked_for_an_installation(bare: Stack, command: list[str]):
    # Given a folder without one
    result = bare.run("gifster", *command)

    assert result.returncode == 1
    assert f"there is no database in {bare.folder}/var/gifster.db: " in result.stderr
    assert not bare.var.exists()

    # And one whose schema is older
    bare.var.mkdir()
    (bare.var / "gifster.db").touch()
    result = bare.run("gifster", *command)

    assert result.returncode == 1
    assert "pending migrations): run gifster migrate" in result.stderr


def test_one_admin_token_is_one(new_stack: Callable[..., Stack]):
    stack = new_stack()
    assert stack.run("python", "-c", SIGN_UP).returncode == 0

    said = stack.run("gifster", "admins", "add", "a@b.c").stdout
    assert "1 API token of this account has the scope admin" in said

    stack.run("gifster", "tokens", "add", "a@b.c", "--name", "second", "--scope", "admin")
    said = stack.run("gifster", "admins", "add", "a@b.c").stdout
    assert "2 API tokens of this account have the scope admin" in said


SIGN_UP = """
from gifster.app import accounts, boot, settings
from gifster.app.database import db
boot.boot(settings.load())
with db.connection_context():
    accounts.sign_up_with_token("a@b.c", "12345678")
"""


def test_moderators_come_and_go_and_the_log_tells_of_it(new_stack: Callable[..., Stack]):
    stack = new_stack()
    assert stack.run("python", "-c", SIGN_UP).returncode == 0

    assert "no moderators" in stack.run("gifster", "moderation", "list").stdout
    said = stack.run("gifster", "moderation", "add", "a@b.c").stdout
    assert said == "a@b.c is a moderator\n"
    assert stack.run("gifster", "moderation", "list").stdout == "a@b.c  a\n"
    stack.run("gifster", "admins", "add", "a@b.c")
    refused = stack.run("gifster", "moderation", "remove", "a@b.c")
    assert refused.returncode == 1
    assert "a@b.c is an admin" in refused.stderr
    nobody = stack.run("gifster", "moderation", "add", "b@b.c")
    assert (nobody.returncode, nobody.stderr.count("\n")) == (1, 1)
    stack.run("gifster", "admins", "remove", "a@b.c", "--force")

    lines = stack.run("gifster", "moderation", "log").stdout.splitlines()
    assert [line.partition("role: ")[2] for line in lines] == [
        "admin → member", "moderator → admin", "member → moderator",
    ]  # fmt: skip
    entry = json.loads(stack.run("gifster", "moderation", "log", "--json", "--limit", "1").stdout)
    assert (entry["action"], entry["moderator"]["name"], entry["subject"]) == ("role", "", "a")
    assert stack.run("gifster", "moderation", "log", "--gif", "x").stdout == ""


HEAVY = ["PIL", "boto3", "av", "granian", "falcon", "peewee", "dramatiq", "pydantic", "redis"]
HELP = f"""
import sys
from gifster.cli import main
for command in sys.argv[1:]:
    sys.argv = ["gifster", *command.split(), "--help"]
    try:
        main()
    except SystemExit:
        print("loaded:", [name for name in {HEAVY} if name in sys.modules])
"""


def test_help_loads_nothing_heavy(bare: Stack):
    bare.fresh = True
    commands = ["", "doctor", "migrate", "web", "worker", "dev"]

    said = bare.run("python", "-c", HELP, *commands).stdout

    assert said.count("Usage: ") == said.count("loaded: ") == len(commands)
    assert said.count("loaded: []") == len(commands)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["retry", "nope"], "there is no job nope that is dead or waits for later"),
        (["drop", "nope"], "there is no job nope: it may be done already"),
        (["retry"], "name the jobs by their ids"),
        (["drop", "a", "--all"], "name the jobs by their ids"),
    ],
)
def test_impossible_commands_for_jobs_are_refused(
    new_stack: Callable[..., Stack], arguments: list[str], message: str
):
    result = new_stack().run("gifster", "jobs", *arguments)

    assert result.returncode != 0
    assert message in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("error", "said"),
    [(BrokenPipeError(32, "Broken pipe"), "Broken pipe"), (TimeoutError(), "TimeoutError")],
)
def test_an_error_of_a_server_is_said_though_it_has_the_type_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, said: str
):
    def fails(_: Path) -> None:
        raise error

    monkeypatch.setattr("gifster.app.backup.repository.open_repository", fails)

    refused = CliRunner().invoke(cli, ["backups", str(tmp_path)])

    assert (refused.exit_code, refused.stderr) == (1, f"gifster: {said}\n")
