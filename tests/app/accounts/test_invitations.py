"""Invitations, by a link and by mail: each makes one account, and sign-up can be closed."""

from datetime import timedelta

import pytest

from gifster.app import accounts
from gifster.app.accounts import invitations
from gifster.app.accounts.tables import Invitation
from gifster.app.errors import Denied
from gifster.app.models import User, now
from gifster.app.settings import Settings
from gifster.jobs import enqueue
from tests.app.accounts.conftest import OLD, all_at_once, refused
from tests.app.letters import run_mail_jobs, secret_of, text_of


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
    made = invitations.invite_by_mail(admin, "Bob@example.org", days=2)
    [mail] = run_mail_jobs(booted)
    assert mail["To"] == "bob@example.org"
    assert "Ann invites you" in text_of(mail)

    # A worker that dies after it has sent the mail sends another one, whose link works. With the id
    # of the first, mail programs would show the first alone.
    enqueue("send_invitation", made.id)
    [second] = run_mail_jobs(booted)
    assert second["Message-ID"] != mail["Message-ID"]
    with refused("invitation_invalid"):
        sign_up_with(secret_of(mail), "bob@example.org")
    assert sign_up_with(secret_of(second), "bob@example.org").confirmed_at is not None


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
