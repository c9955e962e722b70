"""Confirmed and changed addresses, and what nobody learns about those of others."""

import pytest

from gifster.app import accounts
from gifster.app.accounts import confirming, password_changes
from gifster.app.errors import Conflict
from gifster.app.models import User
from gifster.app.settings import Settings
from tests.app.accounts.conftest import NEW, OLD, all_at_once, ask_for_reset, refused
from tests.app.letters import run_mail_jobs, secret_of, text_of


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
