"""Forgotten passwords, confirmed addresses and invitations: secrets in mails that work once and for
an hour, and of which nobody else learns."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from gifster import jobs
from gifster.app import accounts, tokens
from gifster.app.accounts import confirming, invitations, mail_secrets, password_changes
from gifster.app.accounts.tables import Invitation, MailSecret
from gifster.app.database import db
from gifster.app.errors import Conflict, Denied, Invalid, LibraryError
from gifster.app.models import Token, User, now
from gifster.app.settings import Settings
from gifster.app.tokens import Kind
from tests.app.letters import link_of, run_mail_jobs, secret_of, text_of

OLD, NEW = "correct horse", "battery staple"


def refused(code: str):
    return pytest.raises(LibraryError, check=lambda error: error.code == code)


@pytest.fixture
def ann(booted: Settings) -> User:
    """A user who has had their welcome mail."""
    user = accounts.sign_up("ann@example.org", OLD, "Ann")
    run_mail_jobs(booted)
    MailSecret.delete().execute()
    return user


def ask_for_reset(booted: Settings, address: str = "ann@example.org") -> str:
    password_changes.ask_for_reset(address)
    [mail] = run_mail_jobs(booted)
    return secret_of(mail)


def all_at_once(work: Callable[[], Any], times: int = 8) -> list[Any]:
    """The results of a function that runs in many threads at once; its refusals among them."""

    def connected(_: int) -> Any:
        with db.connection_context():
            try:
                return work()
            except LibraryError as error:
                return error

    with ThreadPoolExecutor(times) as threads:
        return list(threads.map(connected, range(times)))


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


# Addresses.


def test_the_welcome_mail_confirms_an_address(booted: Settings):
    accounts.sign_up("ann@example.org", OLD)
    [mail] = run_mail_jobs(booted)

    confirmed = confirming.confirm(secret_of(mail))

    assert confirmed.confirmed_at is not None
    with refused("link_invalid"):
        confirming.confirm(secret_of(mail))


def test_only_unconfirmed_addresses_of_accounts_get_another_mail(booted: Settings, ann: User):
    confirming.ask_for_confirmation("eve@example.org")
    assert run_mail_jobs(booted) == []

    confirming.ask_for_confirmation("ann@example.org")
    [mail] = run_mail_jobs(booted)
    confirming.confirm(secret_of(mail))

    confirming.ask_for_confirmation("ann@example.org")
    assert run_mail_jobs(booted) == []


def test_a_new_address_counts_once_it_is_confirmed_and_the_former_one_is_told(
    booted: Settings, ann: User
):
    reset = ask_for_reset(booted)

    # When Ann wants another address
    confirming.wish_email(ann, "Ann@New.example.org")
    [mail] = run_mail_jobs(booted)

    # I expect a mail to the new one, and the former one to count until then
    assert mail["To"] == "ann@new.example.org"
    assert accounts.log_in("ann@example.org", OLD).new_email == "ann@new.example.org"
    with refused("login_failed"):
        accounts.log_in("ann@new.example.org", OLD)

    # When she opens the link
    changed = confirming.confirm(secret_of(mail))

    # I expect the new address to count, and a mail to the former one
    assert (changed.email, changed.new_email) == ("ann@new.example.org", None)
    assert changed.confirmed_at is not None
    [told] = run_mail_jobs(booted)
    assert told["To"] == "ann@example.org"
    assert "ann@new.example.org" in text_of(told)
    # A link in the mailbox of the former address opens nothing any more
    with refused("link_invalid"):
        password_changes.reset_password(reset, NEW)


def test_the_link_for_an_address_that_is_no_longer_wanted_does_nothing(booted: Settings, ann: User):
    confirming.wish_email(ann, "one@example.org")
    [one] = run_mail_jobs(booted)
    confirming.wish_email(ann, "two@example.org")
    [two] = run_mail_jobs(booted)
    confirming.wish_email(ann, "ann@example.org")  # she keeps the present one

    for mail in (one, two):
        with refused("link_invalid"):
            confirming.confirm(secret_of(mail))
    assert User.get_by_id(ann.id).email == "ann@example.org"


@pytest.mark.parametrize("by_mail", [True, False])
def test_a_new_password_ends_the_wish_for_another_address(
    booted: Settings, ann: User, by_mail: bool
):
    # Given somebody who knows Ann's password, and wants her account for an address of theirs
    confirming.wish_email(ann, "eve@example.org")
    [mail] = run_mail_jobs(booted)

    # When she chooses another password
    if by_mail:
        password_changes.reset_password(ask_for_reset(booted), NEW)
    else:
        password_changes.change_password(ann, OLD, NEW)

    # I expect their link not to work
    with refused("link_invalid"):
        confirming.confirm(secret_of(mail))
    assert User.get_by_id(ann.id).email == "ann@example.org"
    assert User.get_by_id(ann.id).new_email is None


def test_a_wish_that_is_given_up_before_the_worker_comes_sends_no_mail(booted: Settings, ann: User):
    confirming.wish_email(ann, "one@example.org")
    User.update(new_email=None).execute()

    assert run_mail_jobs(booted) == []


def test_who_has_an_address_is_told_to_its_owner_alone(booted: Settings, ann: User):
    # Given Eve, who tries whether Ann has an account
    eve = accounts.sign_up("eve@example.org", OLD, "Eve")
    run_mail_jobs(booted)

    # When she wants Ann's address, and one that nobody has, I expect the same answer
    assert confirming.wish_email(eve, "ann@example.org") == "ann@example.org"
    [told] = run_mail_jobs(booted)

    # And Ann to be told, without a link that gives Eve the address
    assert told["Subject"] == "Your address has an account at Gifster already"
    assert "/confirm/" not in told.as_string()


def test_an_address_that_somebody_takes_meanwhile_is_theirs(booted: Settings, ann: User):
    confirming.wish_email(ann, "new@example.org")
    [mail] = run_mail_jobs(booted)
    accounts.sign_up("new@example.org", OLD)

    with refused("email_taken"):
        confirming.confirm(secret_of(mail))

    assert User.get_by_id(ann.id).email == "ann@example.org"


def test_two_accounts_that_want_one_address_do_not_both_get_it(booted: Settings, ann: User):
    bob = accounts.sign_up("bob@example.org", OLD)
    run_mail_jobs(booted)
    secrets = []
    for user in (ann, bob):
        confirming.wish_email(user, "new@example.org")
        [mail] = run_mail_jobs(booted)
        secrets.append(secret_of(mail))

    results = all_at_once(lambda: confirming.confirm(secrets.pop()), 2)

    assert sorted(isinstance(result, Conflict) for result in results) == [False, True]


# Invitations.


def sign_up_with(secret: str, email: str) -> User:
    invitation = invitations.check_may_sign_up("invite", secret)
    return accounts.sign_up(email, OLD, invitation=invitation)


@pytest.fixture
def admin(ann: User) -> User:
    return accounts.set_admin(ann.email)


def test_an_invitation_lets_one_person_sign_up(booted: Settings, admin: User):
    made, link = invitations.invite(admin, booted.web)
    secret = link.rpartition("/")[2]

    bob = sign_up_with(secret, "bob@example.org")

    assert bob.confirmed_at is None  # anybody may have passed the link on
    assert Invitation.get_by_id(made.id).used_by == bob
    with refused("invitation_invalid"):
        sign_up_with(secret, "eve@example.org")
    assert secret not in str(list(Invitation.select().dicts()))


def test_of_two_people_with_one_link_one_gets_an_account(booted: Settings):
    _, link = invitations.invite(None, booted.web)
    names = iter(["a@example.org", "b@example.org", "c@example.org"])

    results = all_at_once(lambda: sign_up_with(link.rpartition("/")[2], next(names)), 3)

    assert sorted(isinstance(result, Denied) for result in results) == [False, True, True]
    assert User.select().count() == 1


def test_an_invitation_by_mail_confirms_the_address_that_it_was_sent_to(
    booted: Settings, admin: User
):
    invitations.invite_by_mail(admin, "Bob@example.org", days=2)
    [mail] = run_mail_jobs(booted)
    assert mail["To"] == "bob@example.org"
    assert "Ann invites you" in text_of(mail)

    assert sign_up_with(secret_of(mail), "bob@example.org").confirmed_at is not None


def test_an_invitation_ends(booted: Settings, admin: User):
    made, link = invitations.invite(admin, booted.web, days=1)
    secret = link.rpartition("/")[2]
    assert invitations.is_good(invitations.find(secret))

    Invitation.update(expires_at=now()).execute()
    with refused("invitation_invalid"):
        sign_up_with(secret, "bob@example.org")
    Invitation.update(expires_at=now() - timedelta(days=31)).execute()
    assert invitations.forget_old() == 1

    other, link = invitations.invite(admin, booted.web)
    invitations.revoke(other.id)
    with refused("invitation_invalid"):
        sign_up_with(link.rpartition("/")[2], "bob@example.org")
    for gone in (made.id, "\x00", "x" * 5_000):
        with refused("invitation_not_found"):
            invitations.revoke(gone)


def test_an_invitation_that_was_revoked_before_the_worker_comes_sends_no_mail(booted: Settings):
    invitations.revoke(invitations.invite_by_mail(None, "bob@example.org").id)

    assert run_mail_jobs(booted) == []


@pytest.mark.parametrize(
    ("sign_ups", "code"), [("invite", "invitation_needed"), ("closed", "sign_up_closed")]
)
def test_sign_up_can_be_closed(booted: Settings, sign_ups: str, code: str):
    with refused(code):
        invitations.check_may_sign_up(sign_ups)
    assert invitations.check_may_sign_up("open") is None


def test_an_invitation_does_not_open_what_is_closed(booted: Settings):
    _, link = invitations.invite(None, booted.web)

    with refused("sign_up_closed"):
        invitations.check_may_sign_up("closed", link.rpartition("/")[2])


@pytest.mark.parametrize("days", [0, -1, 366, 10**9])
def test_an_invitation_has_an_end_within_a_year(booted: Settings, days: int):
    with refused("days_invalid"):
        invitations.invite(None, booted.web, days=days)


def test_the_list_of_invitations_says_who_made_and_who_used_them(booted: Settings, admin: User):
    _, link = invitations.invite(admin, booted.web)
    bob = sign_up_with(link.rpartition("/")[2], "bob@example.org")
    invitations.invite(None, booted.web)

    by_command, by_ann = invitations.recent()

    assert (by_ann.made_by, by_ann.used_by) == (admin, bob)
    assert by_command.made_by_id is None


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


# Links.


@pytest.mark.parametrize(
    ("web", "address"),
    [
        ({"public_url": "https://gifs.example.org"}, "https://gifs.example.org"),
        (
            {"public_url": "https://example.org", "root_path": "/gifs"},
            "https://example.org/gifs",
        ),
        ({"root_path": "/gifs"}, "http://127.0.0.1:8000/gifs"),
        ({"host": "0.0.0.0", "port": 9000}, "http://localhost:9000"),
        ({"host": "::1"}, "http://[::1]:8000"),
        ({"host": "10.0.0.1", "port": 80}, "http://10.0.0.1"),
    ],
)
def test_links_lead_where_the_settings_say(web: dict[str, Any], address: str):
    from gifster.app.accounts.mail_links import CONFIRM, link
    from gifster.app.settings import Web

    assert link(Web(**web), CONFIRM, "secret") == f"{address}/confirm/secret"
