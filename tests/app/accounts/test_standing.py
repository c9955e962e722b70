"""Which accounts may log in: a disabled one may do nothing, from that moment on."""

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

from gifster.app import accounts, tokens
from gifster.app.accounts import invitations, leaving, standing
from gifster.app.database import db
from gifster.app.errors import Denied, LibraryError
from gifster.app.models import Token, User, now
from gifster.app.moderation.roles import Role
from gifster.app.settings import Settings
from gifster.app.tokens import Kind
from gifster.jobs import transaction
from tests.app.accounts.conftest import refused

PASSWORD = "correct horse"
#: Every refusal here is a 403.
denied = partial(refused, kind=Denied)


def test_a_disabled_account_has_no_session_and_no_token_from_that_moment(booted: Settings):
    # Given Ann, with a session and a token, and Bob
    ann = accounts.sign_up("ann@example.org", PASSWORD)
    bob = accounts.sign_up("bob@example.org", PASSWORD)
    session, (_, token) = tokens.start_session(ann, 1), tokens.create_token(ann, "script")
    of_bob = tokens.start_session(bob, 1)

    # When Ann's account is disabled
    assert accounts.disable(ann) == 2

    # I expect neither to work, and Ann not to get another one
    assert tokens.find_token(session, Kind.SESSION) is None
    assert tokens.find_token(token, Kind.TOKEN) is None
    assert tokens.find_token(of_bob, Kind.SESSION) is not None
    with denied("account_disabled"):
        accounts.log_in("ann@example.org", PASSWORD)
    with denied("account_disabled"):
        tokens.start_session(ann, 1)  # loaded before
    with denied("account_disabled"):
        tokens.create_token(ann, "another")

    # And somebody who does not know the password to learn nothing of it
    with denied("login_failed"):
        accounts.log_in("ann@example.org", "wrong horse")

    # When it is enabled again, I expect Ann to log in, and the former secrets to be gone
    accounts.enable(ann)
    assert accounts.log_in("ann@example.org", PASSWORD) == ann
    assert tokens.find_token(session, Kind.SESSION) is None


def test_a_token_that_was_there_in_spite_of_all_does_not_work_either(booted: Settings):
    ann = accounts.sign_up("ann@example.org", PASSWORD)
    session = tokens.start_session(ann, 1)

    User.update(disabled_at=now()).execute()  # as a process that ends no sessions would

    assert tokens.find_token(session, Kind.SESSION) is None


def test_sessions_that_begin_while_an_account_is_disabled_are_gone(booted: Settings):
    ann = accounts.sign_up("ann@example.org", PASSWORD)

    def begin(_: int) -> None:
        with db.connection_context():
            with suppress(Denied):
                tokens.start_session(ann, 1)

    def end() -> None:
        with db.connection_context():
            accounts.disable(ann)

    with ThreadPoolExecutor(6) as threads:
        begun = [threads.submit(begin, number) for number in range(8)]
        ended = threads.submit(end)
        begun += [threads.submit(begin, number) for number in range(8)]
    for each in [*begun, ended]:
        each.result()

    assert Token.select().count() == 0


def test_where_addresses_must_be_confirmed_others_cannot_log_in(booted: Settings):
    ann = accounts.sign_up("ann@example.org", PASSWORD)

    with denied("email_unconfirmed"):
        accounts.log_in("ann@example.org", PASSWORD, confirmed_only=True)
    assert accounts.log_in("ann@example.org", PASSWORD) == ann
    User.update(confirmed_at=now()).execute()

    assert accounts.log_in("ann@example.org", PASSWORD, confirmed_only=True) == ann


def test_an_account_without_a_password_has_no_password_that_works(booted: Settings):
    ann = accounts.sign_up("ann@example.org", PASSWORD)
    User.update(password_hash="").execute()

    assert not accounts.has_password(User.get_by_id(ann.id))
    for guess in (PASSWORD, "", " "):
        with denied("login_failed"):
            accounts.log_in("ann@example.org", guess)


def test_a_session_says_where_it_was_begun(booted: Settings):
    ann = accounts.sign_up("ann@example.org", PASSWORD)

    tokens.start_session(ann, 1, address="2001:db8::1", browser="Mozilla\x00/5.0\n" + "x" * 9_000)

    [session] = tokens.tokens_of(ann)
    assert session.address == "2001:db8::1"
    assert session.browser.startswith("Mozilla/5.0 xxx")
    assert len(session.browser) == 200


def test_a_web_process_of_the_release_before_goes_on_adding_accounts(booted: Settings):
    # Given rows with the columns of that release alone, as its process inserts them while it runs
    def insert(table: str, **values: object) -> None:
        names = ", ".join(f'"{name}"' for name in values)
        marks = ", ".join([db.obj.param] * len(values))
        sql = f'INSERT INTO "{table}" ({names}) VALUES ({marks})'
        db.execute_sql(sql, list(values.values()))

    insert("user", id="ann", email="ann@example.org", name="Ann", password_hash="", is_admin=False,
           created_at=1)  # fmt: skip
    digest = hashlib.sha256(b"secret").hexdigest()
    insert("token", digest=digest, id="t", user_id="ann", kind="session", name="", scope="admin",
           created_at=1)  # fmt: skip

    # I expect them to work here
    found = tokens.find_token("secret", Kind.SESSION)
    assert (found.user.email, found.address, found.browser) == ("ann@example.org", "", "")
    assert User.get_by_id("ann").confirmed_at is None


def test_an_invitation_is_good_as_long_as_its_admin_is_one(booted: Settings):
    # Given an admin's invitations, and one of the command line
    ann, bob = (accounts.sign_up(f"{name}@example.org", PASSWORD) for name in ("ann", "bob"))
    for one in (ann, bob):
        accounts.set_admin(one.email)
    secret = invitations.invite(ann, booted.web)[1].rpartition("/")[2]
    of_command = invitations.invite(None, booted.web)[1].rpartition("/")[2]

    # When they are no admin any more, or disabled
    for end, undo in (
        (lambda: accounts.set_admin(ann.email, False), lambda: accounts.set_admin(ann.email)),
        (lambda: accounts.disable(ann), lambda: accounts.enable(ann)),
    ):
        found = invitations.check_may_sign_up("invite", secret)
        end()
        # I expect nobody to sign up with it, even if they have the form open
        with denied("invitation_invalid"):
            invitations.check_may_sign_up("invite", secret)
        with denied("invitation_invalid"), transaction(db):
            invitations.accept(found, bob)
        states = [invitations.is_good(one) for one in invitations.recent()]
        assert states == [True, False]
        undo()

    # And when they leave, it is gone, and so is one that they were just making
    leaving.leave(ann, with_gifs=False)
    late = invitations.invite(ann, booted.web)[1].rpartition("/")[2]
    for removed in (False, True):
        if removed:
            leaving.remove(ann.id, False)
        for one in (secret, late):
            with denied("invitation_invalid"):
                invitations.check_may_sign_up("invite", one)
    assert invitations.check_may_sign_up("invite", of_command) is not None


def test_of_two_last_admins_one_stays_whatever_they_do_to_each_other(booted: Settings):
    ann, bob = (accounts.sign_up(f"{name}@example.org", PASSWORD) for name in ("ann", "bob"))

    def tell(work: Callable[[], object]) -> str:
        with db.connection_context():
            try:
                work()
            except LibraryError as error:
                return error.code
        return "done"

    for number in range(6):
        User.update(is_admin=True, disabled_at=None).execute()
        works = [
            partial(standing.give_role, ann, Role.MEMBER, bob, "x"),
            partial(accounts.disable, bob, ann, "x"),
            partial(accounts.set_admin, "ann@example.org", False),
            partial(leaving.leave, bob, with_gifs=True),
        ]
        two = (works[number % 2], works[2 - number % 2]) if number < 4 else works[:2]
        with ThreadPoolExecutor(2) as threads:
            said = sorted(threads.map(tell, two))
        assert said[0] in ("admins_only", "done", "last_admin")
        able = User.select().where(User.is_admin, User.disabled_at.is_null()).count()
        assert able == 1, (number, said)
