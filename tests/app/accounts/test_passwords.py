"""Forgotten and changed passwords: secrets in mails that work once and for an hour, of which nobody
else learns, and what a new password ends."""

from datetime import timedelta

import pytest

from gifster import jobs
from gifster.app import accounts, tokens
from gifster.app.accounts import confirming, mail_secrets, password_changes
from gifster.app.accounts.tables import MailSecret
from gifster.app.errors import Conflict, Invalid
from gifster.app.models import Token, User, now
from gifster.app.settings import Settings
from gifster.app.tokens import Kind
from tests.app.accounts.conftest import NEW, OLD, all_at_once, ask_for_reset, refused
from tests.app.letters import link_of, run_mail_jobs, secret_of, text_of

# Forgotten passwords.


def test_a_forgotten_password_is_chosen_anew_by_mail(booted: Settings, ann: User):
    # Given Ann, whose address is confirmed, with a session and a token
    User.update(confirmed_at=now()).execute()
    session, (_, token) = tokens.start_session(ann, 1), tokens.create_token(ann, "script")

    # When she asks for a mail
    password_changes.ask_for_reset(" Ann@Example.org")
    [mail] = run_mail_jobs(booted)
    assert mail["To"] == "ann@example.org"
    assert "Hello Ann," in text_of(mail)
    assert link_of(mail).startswith("http://127.0.0.1:8000/password/")

    # And chooses a password
    assert password_changes.reset_password(secret_of(mail), NEW) == ann

    # I expect the new one to work and the former one not
    assert accounts.log_in("ann@example.org", NEW) == ann
    with refused("login_failed"):
        accounts.log_in("ann@example.org", OLD)

    # And her sessions to be gone, and her token to be there
    assert tokens.find_token(session, Kind.SESSION) is None
    assert tokens.find_token(token, Kind.TOKEN) is not None

    # And a mail that tells her
    [told] = run_mail_jobs(booted)
    assert told["Subject"] == "Your password for Gifster was changed"
    assert NEW not in told.as_string()


def test_a_forgotten_password_gives_an_account_that_nobody_has_confirmed_to_its_owner(
    booted: Settings, ann: User
):
    """Somebody else may have signed up with her address, to wait for her."""
    _, token = tokens.create_token(ann, "script")

    password_changes.reset_password(ask_for_reset(booted), NEW)

    assert User.get_by_id(ann.id).confirmed_at is not None
    assert tokens.find_token(token, Kind.TOKEN) is None


def test_a_secret_works_once_however_many_tabs_are_open(booted: Settings, ann: User):
    secret = ask_for_reset(booted)

    results = all_at_once(lambda: password_changes.reset_password(secret, NEW), 4)

    assert [result for result in results if not isinstance(result, Invalid)] == [ann]
    assert {error.code for error in results if isinstance(error, Invalid)} == {"link_invalid"}
    assert jobs.Job.select().count() == 1


def test_a_secret_works_for_an_hour(booted: Settings, ann: User):
    secret = ask_for_reset(booted)
    [row] = MailSecret.select()
    assert row.expires_at - row.created_at <= timedelta(hours=1)

    MailSecret.update(expires_at=now()).execute()

    with refused("link_invalid"):
        password_changes.reset_password(secret, NEW)
    assert mail_secrets.forget_expired() == 1
    assert accounts.log_in("ann@example.org", OLD) == ann


def test_each_of_two_mails_works_until_one_is_used(booted: Settings, ann: User):
    first, second = ask_for_reset(booted), ask_for_reset(booted)

    password_changes.reset_password(first, NEW)

    with refused("link_invalid"):
        password_changes.reset_password(second, OLD)


def test_a_refused_password_does_not_use_the_secret_up(booted: Settings, ann: User):
    secret = ask_for_reset(booted)

    with refused("password_invalid"):
        password_changes.reset_password(secret, "short")

    assert password_changes.reset_password(secret, NEW) == ann


@pytest.mark.parametrize("secret", ["", "x", "\x00", "\ud800", "ü" * 5_000, "../password"])
def test_what_is_no_secret_does_not_work(booted: Settings, ann: User, secret: str):
    ask_for_reset(booted)

    with refused("link_invalid"):
        password_changes.reset_password(secret, NEW)
    with refused("link_invalid"):
        confirming.confirm(secret)


def test_neither_the_database_nor_a_job_has_a_secret(booted: Settings, ann: User):
    password_changes.ask_for_reset("ann@example.org")
    [job] = jobs.Job.select()
    assert job.arguments == ["ann@example.org"]

    [mail] = run_mail_jobs(booted)

    [row] = MailSecret.select().dicts()
    assert secret_of(mail) not in str(row)


def test_an_unknown_address_is_as_much_work_and_gets_no_mail(booted: Settings, ann: User):
    # A request writes the same job for a known and an unknown address
    password_changes.ask_for_reset("ann@example.org")
    password_changes.ask_for_reset("eve@example.org")
    known, unknown = jobs.Job.select().order_by(jobs.Job.created_at)
    assert (known.actor, len(known.arguments)) == (unknown.actor, len(unknown.arguments))

    # And a worker sends one mail
    assert [mail["To"] for mail in run_mail_jobs(booted)] == ["ann@example.org"]


def test_a_disabled_account_gets_no_mail_and_its_secrets_do_not_work(booted: Settings, ann: User):
    secret = ask_for_reset(booted)
    accounts.disable(ann)

    password_changes.ask_for_reset("ann@example.org")

    assert run_mail_jobs(booted) == []
    with refused("link_invalid"):
        password_changes.reset_password(secret, NEW)


def test_a_secret_of_one_purpose_is_none_of_another(booted: Settings, ann: User):
    reset = ask_for_reset(booted)
    confirming.ask_for_confirmation("ann@example.org")
    confirm = secret_of(run_mail_jobs(booted)[0])

    with refused("link_invalid"):
        confirming.confirm(reset)
    with refused("link_invalid"):
        password_changes.reset_password(confirm, NEW)


# Passwords that are known.


def test_a_changed_password_ends_the_other_sessions(booted: Settings, ann: User):
    mine, other = tokens.start_session(ann, 1), tokens.start_session(ann, 1)
    _, token = tokens.create_token(ann, "script")
    here = tokens.find_token(mine, Kind.SESSION)
    reset = ask_for_reset(booted)

    password_changes.change_password(ann, OLD, NEW, keep=here)

    assert tokens.find_token(mine, Kind.SESSION) is not None
    assert tokens.find_token(other, Kind.SESSION) is None
    assert tokens.find_token(token, Kind.TOKEN) is not None
    assert accounts.log_in("ann@example.org", NEW) == ann
    # A link that somebody asked for before does not work any more
    with refused("link_invalid"):
        password_changes.reset_password(reset, OLD)


def test_no_session_begins_with_the_former_password_after_it_was_changed(
    booted: Settings, ann: User
):
    # Given somebody whose password was right, and who gets a session
    eve = accounts.log_in("ann@example.org", OLD)

    # When Ann has just changed it
    password_changes.change_password(ann, OLD, NEW)

    with refused("password_changed"):
        tokens.start_session(eve, 1)
    assert Token.select().where(Token.kind == Kind.SESSION).count() == 0
    assert tokens.start_session(accounts.log_in("ann@example.org", NEW), 1)


def test_a_changed_password_revokes_the_tokens_if_its_user_wants(booted: Settings, ann: User):
    tokens.create_token(ann, "script")
    here = tokens.find_token(tokens.start_session(ann, 1), Kind.SESSION)

    password_changes.change_password(ann, OLD, NEW, keep=here, revoke=True)

    assert [token.digest for token in Token.select()] == [here.digest]


def test_a_password_is_changed_by_those_who_know_it(booted: Settings, ann: User):
    with refused("password_wrong"):
        password_changes.change_password(ann, NEW, NEW)
    with refused("password_invalid"):
        password_changes.change_password(ann, OLD, "short")
    User.update(password_hash="").execute()
    with refused("password_missing"):
        password_changes.change_password(User.get_by_id(ann.id), "", NEW)

    assert jobs.Job.select().count() == 0


def test_of_two_changes_at_once_one_counts(booted: Settings, ann: User):
    results = all_at_once(lambda: password_changes.change_password(ann, OLD, NEW), 3)

    assert sorted(isinstance(result, Conflict) for result in results) == [False, True, True]


# Accounts that somebody else makes.


def test_an_account_that_an_admin_makes_has_no_password_until_its_user_chooses_one(
    booted: Settings,
):
    user = accounts.add("ann@example.org", "Ann")
    assert run_mail_jobs(booted) == []
    with refused("login_failed"):
        accounts.log_in("ann@example.org", "")

    password_changes.reset_password(ask_for_reset(booted), NEW)

    assert accounts.log_in("ann@example.org", NEW) == user
