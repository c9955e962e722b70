"""Ways to log in, on both databases: what may happen at once happens once, and what is removed is
gone."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyotp
import pytest

from gifster.app import accounts, tokens
from gifster.app.accounts import confirming, leaving, password_changes
from gifster.app.accounts.post import Post
from gifster.app.database import db
from gifster.app.errors import Conflict, LibraryError
from gifster.app.mailers import FileTransport
from gifster.app.models import Token, User, now
from gifster.app.settings import Auth, Oidc, Settings
from gifster.app.sign_in import (
    claiming,
    codes,
    identities,
    notices,
    passkeys,
    proxy,
    second_factor,
    steps,
)
from gifster.app.sign_in.identities import Person
from gifster.app.sign_in.tables import AuthenticatorApp, Identity, Passkey, RecoveryCode, SignInStep
from gifster.app.tokens import Kind
from gifster.jobs import Job

PERSON = Person("https://login.example.org", "1", "ann@example.org", email_verified=True)


@pytest.fixture
def ann(booted: Settings) -> User:
    user = accounts.sign_up("ann@example.org", "correct horse", "Ann")
    User.update(confirmed_at=now()).where(User.id == user.id).execute()
    return User.get_by_id(user.id)


def with_service(settings: Settings) -> Settings:
    oidc = Oidc(issuer=PERSON.issuer, client_id="gifster")
    return settings.model_copy(update={"oidc": oidc})


def at_once(work: Callable[[], Any], times: int = 6) -> list[Any]:
    """What so many threads get that do the same at once: a result, or an error."""

    def one(_: int) -> Any:
        with db.connection_context():
            try:
                return work()
            except LibraryError as error:
                return error.code

    with ThreadPoolExecutor(times) as threads:
        return list(threads.map(one, range(times)))


def app_of(user: User) -> pyotp.TOTP:
    made = codes.begin(user)
    app = pyotp.TOTP(made.secret)
    codes.confirm(user, app.at(now()))
    AuthenticatorApp.update(last_step=0).execute()
    return app


def test_a_code_that_many_type_at_once_works_once(ann: User):
    code = app_of(ann).at(now())

    results = at_once(lambda: codes.check(ann, code))

    assert sorted(map(str, results)) == ["None", *["code_wrong"] * 5]
    assert AuthenticatorApp.get_by_id(ann.id).failures == 5


def test_wrong_codes_at_once_are_all_counted(ann: User):
    app_of(ann)

    at_once(lambda: codes.check(ann, "000000"), 12)

    row = AuthenticatorApp.get_by_id(ann.id)
    assert row.failures == 10  # the others found it locked
    assert row.locked_until > now()


def test_a_recovery_code_that_many_type_at_once_works_once(ann: User):
    app_of(ann)
    code = codes.new_recovery_codes(ann)[0]

    results = at_once(lambda: codes.check(ann, code))

    assert results.count(None) == 1
    assert codes.recovery_codes_left(ann) == 9


def test_a_step_ends_once(ann: User):
    secret = steps.begin(ann)

    assert sorted(at_once(lambda: steps.end(secret))) == [False] * 5 + [True]
    assert steps.waiting(secret) is None
    assert sorted(at_once(lambda: steps.use_once("a"))) == [False] * 5 + [True]
    assert steps.waiting("used a") is None  # what is used up is no log-in


def test_a_newcomer_in_two_tabs_is_one_user(booted: Settings):
    settings = with_service(booted)

    results = at_once(lambda: identities.log_in(PERSON, settings).id)

    assert User.select().count() == 1
    assert Identity.select().count() == 1
    assert set(results) <= {User.get().id, "email_taken"}
    assert identities.log_in(PERSON, settings).id == User.get().id


def test_an_identity_that_two_accounts_want_at_once_is_one_s(booted: Settings, ann: User):
    bob = accounts.sign_up("bob@example.org", "correct horse", "Bob")
    users = iter([ann, bob] * 3)

    results = at_once(lambda: identities.link(next(users), PERSON, booted).user_id)

    assert Identity.select().count() == 1
    owner = Identity.get().user_id
    assert set(results) == {owner, "identity_taken"}


def test_the_last_of_two_identities_stays(booted: Settings):
    settings = with_service(booted)
    user = identities.log_in(PERSON, settings)
    identities.link(user, Person(PERSON.issuer, "2"), settings)
    ids = iter([identity.id for identity in identities.of(user)])

    results = at_once(lambda: identities.unlink(user, next(ids), settings), 2)

    assert sorted(map(str, results)) == ["None", "last_way_in"]
    assert len(identities.of(user)) == 1


def test_requests_of_a_newcomer_whom_the_proxy_vouches_for_make_one_user(booted: Settings):
    auth = Auth(proxy_header="X", proxy_addresses=["10.0.0.1"])

    results = at_once(lambda: proxy.session("eve@example.org", (), auth).user.id)

    assert len(set(results)) == 1
    assert User.select().count() == 1


def test_an_account_is_claimed_once(booted: Settings):
    auth = Auth(proxy_header="X", proxy_addresses=["10.0.0.1"])
    user = accounts.sign_up("eve@example.org", "correct horse", "Eve")

    at_once(lambda: proxy.session("eve@example.org", (), auth).user.id)

    assert not accounts.has_password(User.get_by_id(user.id))


def test_nobody_keeps_a_way_into_an_account_whose_owner_claims_it(booted: Settings):
    auth = Auth(proxy_header="X", proxy_addresses=["10.0.0.1"])
    user = waited_in("eve@example.org", booted)

    proxy.session("eve@example.org", (), auth)

    assert ways_into(user) == []
    assert User.get_by_id(user.id).new_email is None


def test_a_session_that_ends_leaves_no_way_in_behind(
    booted: Settings, ann: User, monkeypatch: pytest.MonkeyPatch
):
    """A request that is on its way when its user logs out everywhere, or chooses a new password."""
    session = tokens.find_token(tokens.start_session(ann, 1), Kind.SESSION)
    made = SimpleNamespace(credential_id=b"a", credential_public_key=b"", sign_count=0)
    monkeypatch.setattr(passkeys, "_verified", lambda *_: made)

    def tried() -> list[str]:
        works = (
            lambda: identities.link(ann, PERSON, booted, session),
            lambda: passkeys.add(session, {}, b"", "https://gifs.example.org", ""),
        )
        return [str(result) for work in works for result in at_once(work, 1)]

    tokens.log_out_everywhere(ann)
    assert tried() == ["token_invalid"] * 2
    assert ways_into(ann) == []

    session = tokens.find_token(tokens.start_session(ann, 1), Kind.SESSION)
    tried()
    assert ways_into(ann) == ["Passkey", "Identity", "Token"]


def waited_in(address: str, settings: Settings) -> User:
    """The account of somebody who waits in it for the owner of its address, with a second factor
    of an earlier release."""
    user = accounts.sign_up(address, "correct horse")
    confirming.wish_email(user, "mallory@example.org")
    AuthenticatorApp.create(user=user, secret="A" * 32, confirmed_at=now())
    RecoveryCode.create(digest="a" * 64, user=user)
    Passkey.create(user=user, credential="a", public_key=b"\0\1", name="Key")
    identities.link(user, PERSON, settings)
    tokens.create_token(user, "t", "admin")
    return User.get_by_id(user.id)


def ways_into(user: User) -> list[str]:
    """The tables that have something with which somebody logs in to an account."""
    tables = (AuthenticatorApp, RecoveryCode, Passkey, Identity, Token)
    return [one.__name__ for one in tables if one.select().where(one.user == user.id).exists()]


def test_who_has_lost_everything_is_let_in_by_the_person_who_runs_it(ann: User):
    app_of(ann)
    Passkey.create(user=ann, credential="a", public_key=b"\0\1", name="Key")

    assert second_factor.remove_all(ann) == 2

    assert not second_factor.is_needed(ann)
    assert RecoveryCode.select().count() == 0


def test_all_of_it_goes_with_the_account(booted: Settings, ann: User):
    app_of(ann)
    Passkey.create(user=ann, credential="a", public_key=b"\0\1", name="Key")
    identities.link(ann, PERSON, booted)
    steps.begin(ann)

    User.delete().where(User.id == ann.id).execute()

    for table in (AuthenticatorApp, RecoveryCode, Passkey, Identity, SignInStep, Token):
        assert table.select().count() == 0, table


def test_who_leaves_may_come_back_at_once_as_somebody_new(booted: Settings, ann: User):
    # Given Ann, who has left, and whose GIFs and row are not removed yet
    settings = with_service(booted)
    app_of(ann)
    Passkey.create(user=ann, credential="a", public_key=b"", name="Key")
    identities.link(ann, PERSON, settings)
    leaving.leave(ann, with_gifs=True, end_ways_in=claiming.end_ways_in)

    # I expect nothing of hers to lead to that account, nor to have her address
    assert ways_into(ann) == []

    # And no mail for the account that she has left
    post = Post(FileTransport(Path("var/mail")), "Gifster <gifster@example.org>", booted.web)
    password_changes.deliver_password_changed(ann.id, post)
    notices.deliver(ann.id, "app_added", "x", post)
    accounts.deliver_welcome(ann.id, post.transport, post.sender, booted.web)
    assert not Path("var/mail").exists()

    # And her to have a new account when she logs in by the sign-in service
    again = identities.log_in(PERSON, settings)
    assert (again.email, again.id != ann.id) == ("ann@example.org", True)


def test_a_passkey_belongs_to_one_account(ann: User):
    Passkey.create(user=ann, credential="a" * 1364, public_key=bytes(range(256)), name="Key")
    assert bytes(Passkey.get().public_key) == bytes(range(256))

    bob = accounts.sign_up("bob@example.org", "correct horse", "Bob")
    with pytest.raises(Exception, match=r"(?i)unique"):
        Passkey.create(user=bob, credential="a" * 1364, public_key=b"", name="Key")


def test_what_has_expired_is_swept(ann: User):
    kept, old = steps.begin(ann), steps.begin(ann)
    steps.use_once("old", timedelta(0))
    SignInStep.update(expires_at=now()).where(SignInStep.digest == steps._digest(old)).execute()

    assert steps.forget_expired() == 2

    assert SignInStep.select().count() == 1
    assert steps.waiting(kept) == ann


def test_an_app_cannot_be_replaced_by_setting_up_another(ann: User):
    app_of(ann)

    with pytest.raises(Conflict):
        codes.begin(ann)
    with pytest.raises(LibraryError) as refused:
        codes.confirm(ann, "000000")
    assert refused.value.code == "app_not_begun"


def test_its_user_is_told_of_each_change(booted: Settings, ann: User, tmp_path: Path):
    settings = with_service(booted)
    app_of(ann)
    codes.check(ann, codes.new_recovery_codes(ann)[0])
    passkey = Passkey.create(user=ann, credential="a", public_key=b"", name="Key")
    second_factor.without_passkey(ann, passkey.id)
    second_factor.without_app(ann)
    second_factor.without_app(ann)  # there is none any more
    identity = identities.link(ann, PERSON, settings)
    identities.link(ann, PERSON, settings)  # it is linked already
    identities.unlink(ann, identity.id, settings)

    told = [
        list(job.arguments)
        for job in Job.select().order_by(Job.created_at)
        if job.actor == "send_sign_in_changed"
    ]
    assert sorted(what for _, what, _ in told) == sorted(
        ["app_added", "codes_made", "code_used", "passkey_removed", "app_removed", "linked",
         "unlinked"]
    )  # fmt: skip
    post = Post(FileTransport(tmp_path / "mails"), "Gifster <gifster@example.org>", booted.web)
    for arguments in told:
        notices.deliver(*arguments, post)
    texts = [path.read_text() for path in (tmp_path / "mails").iterdir()]
    assert len(texts) == 7
    assert all("To: ann@example.org" in text for text in texts)
    assert all("/account/sign-in" in text for text in texts)
    assert any("a recovery code was used to log in" in text for text in texts)
    notices.deliver("gone", "linked", "x", post)  # whose account is gone
    assert set(notices.WHAT) >= {what for _, what, _ in told}
