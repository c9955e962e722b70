"""Sessions and tokens in the database: how many there may be, what became of those of older
releases, and what a revocation is worth against requests that run meanwhile."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import peewee
import pytest

from gifster import jobs
from gifster.app import accounts, database, library, tokens
from gifster.app.database import db
from gifster.app.library import Denied, NotFound, Quota, Reach
from gifster.app.models import Gif, Token, User, now
from gifster.app.settings import Settings
from gifster.app.tokens import Kind, Scope
from tests.app.gifs import added, cached
from tests.app.schema import ALL
from tests.clocks import SetClock


@pytest.fixture
def ann(booted: Settings) -> User:
    return accounts.sign_up("ann@example.org", "correct horse")


def test_tokens_of_an_older_release_stay_valid(database_url: str):
    # Given a script's token and a browser's session, from before they had names and scopes
    before = ALL[: ALL.index("0009_tokens")][-1]
    database.connect(database_url)
    with db.connection_context():
        database._runner().up(before)
        db.execute_sql(
            'INSERT INTO "user" (id, email, name, password_hash, created_at, is_admin)'
            " VALUES ('ann', 'ann@example.org', 'Ann', 'x', 1, false)"
        )
        in_a_month = Token.expires_at.db_value(now() + timedelta(30))
        for secret, expires_at in [("script", "NULL"), ("browser", in_a_month)]:
            db.execute_sql(
                "INSERT INTO token (digest, user_id, created_at, expires_at)"
                f" VALUES ('{tokens._digest(secret)}', 'ann', 1, {expires_at})"
            )

    # When the schema is brought up to date
    assert "0009_tokens" in database.migrate()

    # I expect both to stay valid, and to have an id by which they can be revoked
    with db.connection_context():
        script = tokens.find_token("script", Kind.TOKEN)
        browser = tokens.find_token("browser", Kind.SESSION)
        assert (script.name, script.scope, script.expires_at) == ("sign-up", "admin", None)
        assert (browser.scope, browser.user) == ("admin", User.get())
        assert len({script.id, browser.id}) == 2
        tokens.revoke(script.id, User.get())
        assert tokens.find_token("script", Kind.TOKEN) is None
        assert tokens.find_token("browser", Kind.SESSION) is not None
    db.obj.close_all()


def test_a_user_has_a_hundred_tokens_at_most(ann: User):
    for _ in range(tokens.MAX_TOKENS - 2):
        tokens.issue_token(ann)
    tokens.create_token(ann, "the last but one")

    def create(number: int) -> str:
        with db.connection_context():
            try:
                tokens.create_token(ann, f"token {number}")
            except Denied as refusal:
                return refusal.code
            return "made"

    # When several requests ask for the last place at once
    with ThreadPoolExecutor(4) as threads:
        made = sorted(threads.map(create, range(4)))

    # I expect one of them to get it, and expired tokens not to count
    assert made == ["made"] + ["too_many_tokens"] * 3
    Token.update(expires_at=now()).where(Token.name == "the last but one").execute()
    tokens.create_token(ann, "another one")


def test_one_session_too_many_ends_the_oldest(ann: User):
    script = tokens.issue_token(ann)
    sessions = [tokens.start_session(ann, 30) for _ in range(tokens.MAX_SESSIONS + 2)]

    held = [tokens.find_token(secret, Kind.SESSION) is not None for secret in sessions]

    assert held == [False] * 2 + [True] * tokens.MAX_SESSIONS
    assert tokens.user_for_token(script) == ann


def test_a_clock_that_is_set_ahead_by_mistake_ends_no_session_for_good(
    ann: User, monkeypatch: pytest.MonkeyPatch
):
    # Given a session and a token, while somebody watches the clock
    session, (_, token) = tokens.start_session(ann, 30), tokens.create_token(ann, "script", days=90)
    jobs.enqueue_recurring({})
    set_clock = SetClock(monkeypatch)

    # When the clock is a year ahead for longer than a restart takes, and somebody logs in then
    for minute in range(7):
        set_clock.ahead(365 * 86_400 + minute * 60)
        assert tokens.find_token(session, Kind.SESSION) is None
        assert tokens.forget_expired_tokens() == 0
        tokens.create_token(ann, f"token {minute}")
    late = tokens.start_session(ann, 30)
    assert tokens.is_fresh(tokens.find_token(late, Kind.SESSION))

    # I expect both to be good when it is right again, and the new session not to be fresh
    set_clock.ahead(0)
    assert tokens.find_token(session, Kind.SESSION)
    assert tokens.find_token(token, Kind.TOKEN)
    assert not tokens.is_fresh(tokens.find_token(late, Kind.SESSION))
    # … and what has expired to be deleted a day later
    Token.update(expires_at=now() - timedelta(hours=23)).execute()
    assert tokens.forget_expired_tokens() == 0
    Token.update(expires_at=now() - timedelta(hours=25)).execute()
    assert tokens.forget_expired_tokens() == 10
    assert tokens.log_out_everywhere(ann) == 0


def test_a_request_that_runs_while_its_user_logs_out_gets_no_new_token(ann: User):
    # Given a thief's request for a new token, whose own token has been accepted
    thief = tokens.find_token(tokens.issue_token(ann), Kind.TOKEN)

    # When Ann logs out everywhere before the request writes
    tokens.log_out_everywhere(ann)

    # I expect the thief to get no token
    with pytest.raises(Denied) as refusal:
        tokens.create_token(ann, "mine", Scope.ADMIN, by=thief)
    assert refusal.value.code == "token_invalid"
    assert tokens.tokens_of(ann) == []


def test_a_user_deleted_meanwhile_gets_no_token(ann: User):
    ann.delete_instance()

    for give in (lambda: tokens.create_token(ann, "a"), lambda: tokens.start_session(ann, 1)):
        with pytest.raises(NotFound):
            give()


def test_the_use_of_a_token_is_noted_once_an_hour(ann: User):
    secret = tokens.issue_token(ann)
    tokens.find_token(secret, Kind.TOKEN)
    first = Token.get().last_used_at
    tokens.find_token(secret, Kind.TOKEN)
    assert Token.get().last_used_at == first

    long_ago = now() - timedelta(hours=2)
    Token.update(last_used_at=long_ago).execute()
    tokens.find_token(secret, Kind.TOKEN)

    assert Token.get().last_used_at >= first


def test_readers_are_served_while_the_database_takes_no_writes(ann: User):
    secret = tokens.issue_token(ann)
    if isinstance(db.obj, peewee.SqliteDatabase):
        db.execute_sql("PRAGMA query_only = 1")
    else:
        db.execute_sql("SET default_transaction_read_only = on")

    try:
        assert tokens.user_for_token(secret) == ann
    finally:
        if isinstance(db.obj, peewee.SqliteDatabase):
            db.execute_sql("PRAGMA query_only = 0")
        else:
            db.execute_sql("SET default_transaction_read_only = off")


def test_a_secret_finds_only_its_own_token(ann: User):
    secret, session = tokens.issue_token(ann), tokens.start_session(ann, 1)

    assert tokens.find_token(secret, Kind.SESSION) is None
    assert tokens.find_token(session, Kind.TOKEN) is None
    for wrong in ("", "\0", "\udcff", secret.swapcase(), secret + " ", Token.get().digest):
        assert tokens.find_token(wrong, Kind.TOKEN) is None
    for wrong in ("", "\0", "nobody", "\ud800"):
        with pytest.raises(NotFound):
            tokens.revoke(wrong, ann)


def test_an_image_that_an_admin_replaces_counts_for_its_owner(ann: User):
    # Given Ann with a small GIF and a GIF that fills her quota, and an admin without GIFs
    admin = accounts.sign_up("admin@example.org", "correct horse")
    gif, other = added(user=ann), added(user=ann)
    Gif.update(bytes=1).where(Gif.id == gif.id).execute()

    # When the admin gives her small GIF a large image
    with pytest.raises(Denied) as refusal:
        library.replace_image(gif.id, admin, cached(), Quota(9, other.bytes + 9), Reach.ALL)
    library.replace_image(gif.id, admin, cached(), Quota(9, 2 * other.bytes), Reach.ALL)

    # I expect the GIF to count for Ann, and to stay hers
    assert refusal.value.code == "quota_exceeded"
    assert Gif.get_by_id(gif.id).user == ann
