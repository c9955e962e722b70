"""Commands that are started in the wrong folder make nothing there, and say where they looked; and
a release refuses a database that a later one has migrated."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from gifster.app import database
from gifster.app.database import db
from gifster.cli import cli


def commands(group: click.Group, *before: str) -> Iterator[list[str]]:
    """Each command with its required arguments and options."""
    for name, command in sorted(group.commands.items()):
        if isinstance(command, click.Group):
            yield from commands(command, *before, name)
            continue
        words = [*before, name, *OPTIONS.get(" ".join([*before, name]), [])]
        for parameter in command.params:
            if parameter.required:
                option = parameter.opts[:1] if isinstance(parameter, click.Option) else []
                if not set(option) & set(words):
                    words += [*option, value_of(parameter)]
        yield words


def value_of(parameter: click.Parameter) -> str:
    """A value that is right, so that the folder alone is wrong."""
    if isinstance(parameter.type, click.Choice):
        return str(parameter.type.choices[0])
    return VALUES.get(parameter.name or "", "x")


VALUES = {
    "email": "ann@example.org", "address": "ann@example.org", "model": "shop.models:User",
    "source": "sqlite:///var/gifster.db", "target": "sqlite:///var/new.db", "paths": "/dev/null",
}  # fmt: skip
OPTIONS = {
    "storage copy": ["--from", "local", "--to", "s3"],
    "demo": ["--port", "1"],
    "jobs retry": ["--all"],
    "jobs drop": ["--all"],
}
ALL = list(commands(cli))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, in which this process is."""
    folder = tmp_path / "wrong folder"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("GIFSTER_BROKER__URL", "redis://127.0.0.1:1/0")
    monkeypatch.setenv("GIFSTER_STORE__BUCKET", "gifs")
    umask = os.umask(0o077)
    yield folder
    os.umask(umask)


def run(arguments: list[str]) -> Result:
    found = CliRunner().invoke(cli, arguments)
    assert found.exception is None or isinstance(found.exception, SystemExit), found.exception
    return found


#: They need no installation: these look into a folder of backups or at a web server, or write into
#: another application.
ELSEWHERE = {"backups", "demo", "install", "restore"}


@pytest.mark.parametrize("arguments", ALL, ids=" ".join)
def test_in_an_empty_folder_each_command_says_where_it_looked_and_makes_nothing(
    folder: Path, arguments: list[str]
):
    result = run(arguments)

    assert result.exit_code != 0, result.output
    assert list(folder.iterdir()) == []
    if arguments[0] not in ELSEWHERE:
        said = " ".join(result.output.split())
        assert str(folder) in said
        assert "there is no database in " in said or "there is no Gifster in " in said


def test_migrate_makes_an_installation_where_somebody_wants_one(folder: Path):
    # Given a folder without settings, I expect it to be made only if I say so
    assert "gifster migrate --new" in run(["migrate"]).output
    assert "applied 0001" in run(["migrate", "--new"]).output

    # And to be brought up to date without a word from then on
    assert run(["migrate"]).output == "the schema is up to date\n"


def test_a_folder_with_settings_is_meant(folder: Path):
    (folder / "settings.toml").touch()

    assert "applied 0001" in run(["migrate"]).output


def test_the_doctor_makes_no_database(folder: Path):
    # Given settings, and then a restore that has not finished: it would take a database for its own
    (folder / "settings.toml").touch()
    for restoring in (False, True):
        if restoring:
            (folder / "var" / "restoring.json").touch()

        examined = CliRunner().invoke(cli, ["doctor"])

        assert examined.exit_code == 1
        assert "not known, without the database" in examined.output
        assert not list(folder.glob("var/gifster.db*"))


def test_an_absolute_path_is_meant(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GIFSTER_DATABASE__URL", f"sqlite:///{tmp_path}/data/gifster.db")

    assert "applied 0001" in run(["migrate"]).output
    assert (tmp_path / "data" / "gifster.db").exists()


@pytest.mark.parametrize("arguments", [["migrate"], ["migrate", "--new"], ["doctor"], ["dev"]])
def test_the_changes_of_a_database_that_was_moved_away_are_kept(folder: Path, arguments: list[str]):
    # Given changes that are only in the WAL, as somebody has moved gifster.db alone
    (folder / "settings.toml").touch()
    (folder / "var").mkdir()
    changes = folder / "var" / "gifster.db-wal"
    changes.write_bytes(b"changes")

    # I expect every command that would make a database to say so, and to leave them alone
    said = " ".join(run(arguments).output.replace("\u2502", " ").split())
    assert "gifster.db-wal has changes of the database that was here" in said
    assert changes.read_bytes() == b"changes"
    assert not (folder / "var" / "gifster.db").exists()


@pytest.mark.parametrize(
    "arguments",
    [["migrate"], ["web"], ["worker"], ["scheduler"], ["fsck"], ["jobs", "list"], ["dev"],
     ["backup", "/tmp/never"], ["storage", "copy", "--from", "local", "--to", "s3"]],
    ids=" ".join,
)  # fmt: skip
def test_a_downgrade_is_refused(folder: Path, arguments: list[str]):
    # Given a database that a later release has migrated
    run(["migrate", "--new"])
    with db.connection_context():
        db.execute_sql(
            f"INSERT INTO {database.APPLIED} (name, applied) VALUES ('9999_later', '2030-01-01')"
        )
    db.obj.close_all()

    # I expect every command of this release to leave it alone, and to say what to do
    result = run(arguments)

    assert result.exit_code == 1
    said = " ".join(result.output.split())
    assert "a later release of Gifster has migrated the database (9999_later is not known" in said
    assert "install the later release again, or restore the backup" in said
    assert not Path("/tmp/never").exists()


@pytest.mark.parametrize("arguments", ALL, ids=" ".join)
def test_what_the_system_refuses_is_told_in_a_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
):
    # Given an installation in which this user may read nothing
    (folder / "settings.toml").touch()
    exists = Path.exists

    def refused(path: Path) -> bool:
        if path.parts[:1] == ("var",):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return exists(path)

    monkeypatch.setattr(Path, "exists", refused)

    result = run(arguments)  # it fails after any other exception

    assert result.exit_code != 0
    if arguments[0] not in ELSEWHERE:
        assert "Permission denied" in result.output


def test_a_database_whose_folder_cannot_be_made_is_told_in_a_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    (folder / "settings.toml").touch()
    for command in ("migrate", "doctor"):
        monkeypatch.setenv("GIFSTER_DATABASE__URL", "sqlite:////dev/null/gifster.db")

        assert run([command]).output == "gifster: /dev/null: File exists\n"


@pytest.mark.parametrize("command", ["import", "export", "backup", "backups", "restore"])
def test_an_empty_path_is_not_this_folder(folder: Path, command: str):
    refused = run([command, ""])

    assert refused.exit_code == 2
    assert "it is empty: name a file or a folder" in refused.output
