"""Sessions and tokens in the database: how many there may be, what became of those of older
releases, and what a revocation is worth against requests that run meanwhile."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import peewee
import pytest

from gifster.app import accounts, database, library, tokens
from gifster.app.database import db
from gifster.app.library import Denied, NotFound, Quota, Reach
from gifster.app.models import Gif, Token, User, now
from gifster.app.settings import Settings
from gifster.app.tokens import Kind, Scope
from tests.api.test_limits import cached
from tests.app.test_database import ALL


@pytest.fixture
def ann(booted: Settings) -> User:
    return accounts.sign_up("ann@example.org", "correct horse")


def test_tokens_of_an_older_release_go_on_working(database_url: str):
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

    # I expect both to hold as they did, and to be revocable by an id
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
        accounts.issue_token(ann)
    tokens.create_token(ann, "the last but one")

    def create(number: int) -> str:
        with db.connection_context():
            try:
                tokens.create_token(ann, f"token {number}")
            except Denied as refusal:
                return refusal.code
            return "made"

    # When several ask at once for the last place
    with ThreadPoolExecutor(4) as threads:
        made = sorted(threads.map(create, range(4)))

    # I expect one to get it, and expired ones to take none
    assert made == ["made"] + ["too_many_tokens"] * 3
    Token.update(expires_at=now()).where(Token.name == "the last but one").execute()
    tokens.create_token(ann, "another one")


def test_a_session_too_many_ends_the_oldest(ann: User):
    script = accounts.issue_token(ann)
    sessions = [tokens.start_session(ann, 30) for _ in range(tokens.MAX_SESSIONS + 2)]

    held = [tokens.find_token(secret, Kind.SESSION) is not None for secret in sessions]

    assert held == [False] * 2 + [True] * tokens.MAX_SESSIONS
    assert accounts.user_for_token(script) == ann


def test_a_request_that_runs_meanwhile_does_not_outlive_logging_out(ann: User):
    # Given a thief's request for a new token, which is past the door
    thief = tokens.find_token(accounts.issue_token(ann), Kind.TOKEN)

    # When Ann logs out everywhere before it gets to the database
    tokens.log_out_everywhere(ann)

    # I expect it to get none
    with pytest.raises(Denied) as refusal:
        tokens.create_token(ann, "mine", Scope.ADMIN, by=thief)
    assert refusal.value.code == "token_invalid"
    assert tokens.tokens_of(ann) == []


def test_a_user_who_was_deleted_meanwhile_gets_no_token(ann: User):
    ann.delete_instance()

    for give in (lambda: tokens.create_token(ann, "a"), lambda: tokens.start_session(ann, 1)):
        with pytest.raises(NotFound):
            give()


def test_the_use_of_a_token_is_noted_to_the_hour(ann: User):
    secret = accounts.issue_token(ann)
    tokens.find_token(secret, Kind.TOKEN)
    first = Token.get().last_used_at
    tokens.find_token(secret, Kind.TOKEN)
    assert Token.get().last_used_at == first

    long_ago = now() - timedelta(hours=2)
    Token.update(last_used_at=long_ago).execute()
    tokens.find_token(secret, Kind.TOKEN)

    assert Token.get().last_used_at >= first


def test_a_database_that_cannot_be_written_stops_nobody_who_reads(ann: User):
    secret = accounts.issue_token(ann)
    if isinstance(db.obj, peewee.SqliteDatabase):
        db.execute_sql("PRAGMA query_only = 1")
    else:
        db.execute_sql("SET default_transaction_read_only = on")

    try:
        assert accounts.user_for_token(secret) == ann
    finally:
        if isinstance(db.obj, peewee.SqliteDatabase):
            db.execute_sql("PRAGMA query_only = 0")
        else:
            db.execute_sql("SET default_transaction_read_only = off")


def test_no_secret_finds_a_token_that_it_should_not(ann: User):
    secret, session = accounts.issue_token(ann), tokens.start_session(ann, 1)

    assert tokens.find_token(secret, Kind.SESSION) is None
    assert tokens.find_token(session, Kind.TOKEN) is None
    for wrong in ("", "\0", "\udcff", secret.swapcase(), secret + " ", Token.get().digest):
        assert tokens.find_token(wrong, Kind.TOKEN) is None
    for wrong in ("", "\0", "nobody", "\ud800"):
        with pytest.raises(NotFound):
            tokens.revoke(wrong, ann)


def test_what_an_admin_replaces_counts_for_its_owner(ann: User):
    # Given Ann with a small GIF and one that fills her quota, and an admin who has none
    admin = accounts.sign_up("admin@example.org", "correct horse")
    gif, other = library.add_gif(cached(), user=ann), library.add_gif(cached(), user=ann)
    Gif.update(bytes=1).where(Gif.id == gif.id).execute()

    # When the admin gives her small GIF a large image
    with pytest.raises(Denied) as refusal:
        library.replace_image(gif.id, admin, cached(), Quota(9, other.bytes + 9), Reach.ALL)
    library.replace_image(gif.id, admin, cached(), Quota(9, 2 * other.bytes), Reach.ALL)

    # I expect it to count as hers, and to stay hers
    assert refusal.value.code == "quota_exceeded"
    assert Gif.get_by_id(gif.id).user == ann
