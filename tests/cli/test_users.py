"""`gifster users`, in this process: no lost password needs SQL."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gifster import jobs
from gifster.app import accounts, settings, tokens
from gifster.app.accounts import invitations, password_changes
from gifster.app.accounts.tables import Invitation
from gifster.app.boot import configure
from gifster.app.database import db
from gifster.app.errors import Denied
from gifster.app.models import User
from gifster.cli import cli

OLD, NEW = "correct horse", "battery staple"


@pytest.fixture
def ann(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broker_url: str, migrated: Path
) -> Iterator[User]:
    """Ann, who has an account in an installation whose address is known."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIFSTER_BROKER__URL", broker_url)
    monkeypatch.setenv("GIFSTER_WEB__PUBLIC_URL", "https://gifs.example.org")
    (tmp_path / "var").mkdir()
    shutil.copy2(migrated, tmp_path / "var" / "gifster.db")
    configure(settings.load())
    with db.connection_context():
        user = accounts.sign_up("ann@example.org", OLD, "Ann")
        jobs.Job.delete().execute()
    yield user
    db.obj.close_all()


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["users", *arguments])


def secret_in(result: Result, path: str) -> str:
    [line] = [line for line in result.output.splitlines() if line.startswith("https://")]
    begin = f"https://gifs.example.org{path}"
    assert line.startswith(begin)
    return line.removeprefix(begin)


def test_a_lost_password_is_chosen_by_a_link_that_the_command_prints(ann: User):
    secret = secret_in(run("reset", "ANN@example.org"), "/password/")

    with db.connection_context():
        password_changes.reset_password(secret, NEW)
        assert accounts.log_in("ann@example.org", NEW) == ann


def test_a_link_is_sent_by_a_worker_if_it_is_wished(ann: User):
    assert run("reset", "ann@example.org", "--mail").exit_code == 0

    with db.connection_context():
        [job] = jobs.Job.select()
    assert (job.actor, job.arguments) == ("send_password_reset", ["ann@example.org"])


def test_an_account_is_made_for_somebody(ann: User):
    made = run("add", "Bob@example.org", "--name", "Bob", "--admin")

    secret = secret_in(made, "/password/")
    with db.connection_context():
        bob = password_changes.reset_password(secret, NEW)
        assert (bob.email, bob.name, bob.is_admin) == ("bob@example.org", "Bob", True)
        assert accounts.log_in("bob@example.org", NEW).confirmed_at is not None
    again = run("add", "bob@example.org")
    assert (again.exit_code, "an account with that address already" in again.output) == (1, True)


def test_people_are_invited_by_a_link_or_by_mail(ann: User):
    secret = secret_in(run("invite", "--days", "1"), "/invitation/")
    sent = run("invite", "bob@example.org")

    assert "bob@example.org" in sent.output
    with db.connection_context():
        assert invitations.check_may_sign_up("invite", secret) is not None
        by_mail = Invitation.get(Invitation.email == "bob@example.org")
        [job] = jobs.Job.select().where(jobs.Job.actor == "send_invitation")
        assert job.arguments == [by_mail.id]
    assert run("invite", "nobody").exit_code == 1
    assert run("invite", "--days", "400").exit_code == 2


def test_an_account_is_disabled_and_enabled(ann: User):
    with db.connection_context():
        tokens.start_session(ann, 1)

    assert "1 session or token ended" in run("disable", "ann@example.org").output
    with db.connection_context(), pytest.raises(Denied):
        accounts.log_in("ann@example.org", OLD)
    refused = run("reset", "ann@example.org")
    assert (refused.exit_code, "is disabled" in refused.output) == (1, True)
    run("enable", "ann@example.org")
    with db.connection_context():
        assert accounts.log_in("ann@example.org", OLD) == ann


def test_an_account_is_removed_after_a_question(ann: User):
    remove = ["remove", "ann@example.org", "--gifs", "delete"]

    kept = CliRunner().invoke(cli, ["users", *remove], input="n\n")
    assert kept.exit_code == 1
    assert "Delete the account of ann@example.org (Ann)? [y/N]" in kept.output
    assert run("remove", "ann@example.org").exit_code == 2  # what becomes of the GIFs is no default
    gone = run(*remove, "--yes")

    assert gone.exit_code == 0, gone.output
    with db.connection_context():
        [job] = jobs.Job.select()
        assert (job.actor, job.arguments) == ("remove_account", [ann.id, True])
        assert accounts.account_with("ann@example.org") is None


def test_admins_are_made_and_unmade(ann: User):
    for arguments, is_admin in ((["admin"], True), (["admin", "--remove", "--force"], False)):
        result = run(*arguments, "ann@example.org")
        assert result.exit_code == 0, result.output
        with db.connection_context():
            assert User.get_by_id(ann.id).is_admin is is_admin


def test_links_lead_to_the_port_of_the_dev_that_runs_here(
    ann: User, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("GIFSTER_WEB__PUBLIC_URL")
    lock = Path("var/dev.lock")

    lock.write_text(f"{os.getpid()} 8931")
    for arguments in (["invite"], ["add", "bob@example.org"], ["reset", "ann@example.org"]):
        assert run(*arguments).output.startswith("http://127.0.0.1:8931/"), arguments
    # What a variable says counts more, and a dev that has ended or is damaged nothing
    with monkeypatch.context() as more:
        more.setenv("GIFSTER_WEB__PORT", "8700")
        assert run("invite").output.startswith("http://127.0.0.1:8700/")
    for written in ("", "4194305 8931", "8931", "a b", f"{os.getpid()} 99999"):
        lock.write_text(written)
        assert run("invite").output.startswith("http://127.0.0.1:8000/"), written


def test_the_last_admin_stays_unless_forced(ann: User):
    run("admin", "ann@example.org")
    run("add", "bob@example.org", "--admin")
    run("disable", "bob@example.org")  # no admin whom anybody could ask

    refused = run("admin", "--remove", "ANN@example.org")
    assert refused.exit_code == 1
    assert "ann@example.org is the only admin" in refused.output
    assert run("disable", "ann@example.org").exit_code == 1
    run("enable", "bob@example.org")
    assert run("admin", "--remove", "ann@example.org").exit_code == 0
    assert run("disable", "bob@example.org", "--force").exit_code == 0


def test_all_accounts_are_listed(ann: User):
    run("add", "bob@example.org", "--admin")
    run("disable", "bob@example.org", "--force")

    lines = run("list").output.splitlines()

    assert lines[0].split()[:2] == ["address", "name"]
    assert lines[1].split()[:3] == ["ann@example.org", "Ann", "not"]
    assert "disabled, admin, not confirmed" in lines[2]


@pytest.mark.parametrize("command", ["reset", "disable", "enable", "admin", "log-out"])
def test_an_unknown_address_is_a_line_and_not_a_traceback(ann: User, command: str):
    result = run(command, "eve@example.org")

    assert result.exit_code == 1
    assert "gifster: there is no account with the address eve@example.org" in result.output


def test_no_account_is_made_if_its_mail_cannot_be_sent(ann: User, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GIFSTER_BROKER__URL", "")

    refused = run("add", "bob@example.org", "--mail")

    assert refused.exit_code == 1
    assert "no broker: broker.url is empty" in refused.output
    with db.connection_context():
        assert User.get_or_none(User.email == "bob@example.org") is None
