"""Sign up, log in, log out; who may write; and the one welcome mail."""

import email
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from email.message import EmailMessage
from email.policy import default
from typing import Any

import pytest

from gifster import jobs
from gifster.app import accounts, mailers, tokens
from gifster.app.accounts import passwords
from gifster.app.database import db
from gifster.app.errors import Invalid
from gifster.app.models import Token, User, now
from gifster.app.settings import Mail, Settings
from tests import images
from tests.app.accounts.inbox import Inbox
from tests.machine import eventually, free_port
from tests.stack import Stack

ANN = {"email": "Ann@Example.org", "password": "correct horse", "name": "Ann"}


# By HTTP.


@pytest.fixture(scope="module")
def strict(stack: Stack) -> Iterator[Stack]:
    """A second web server beside the stack's, where nobody may write without an account."""
    port = free_port()
    other = Stack(stack.folder, stack.environment["GIFSTER_BROKER__URL"])
    other.environment |= {"GIFSTER_AUTH__ANONYMOUS_UPLOADS": "false"}
    other.environment |= {"GIFSTER_WEB__PORT": str(port)}
    other.client.base_url = f"http://127.0.0.1:{port}"
    other.start_web()
    yield other
    other.stop()


def test_signing_up_makes_an_account_and_sends_one_welcome_mail(stack: Stack):
    # When I sign up
    answer = stack.client.post("/api/users", json=ANN)

    # I expect an account, with a token for programs
    assert answer.status_code == 201
    user = answer.json()
    assert (user["name"], user["email"]) == ("Ann", "ann@example.org")
    assert user["token"]
    assert "password" not in answer.text

    # And a database that has only hashes of the password and the token
    with sqlite3.connect(stack.var / "gifster.db") as database:
        dump = "\n".join(database.iterdump())
    assert "$argon2id$v=19$m=19456,t=2,p=1$" in dump
    assert ANN["password"] not in dump
    assert user["token"] not in dump

    # And a mail, in text and HTML
    path = stack.var / "mail" / f"welcome.{user['id']}.eml"
    eventually(path.exists)
    mail = email.message_from_bytes(path.read_bytes(), policy=default)
    assert mail["Subject"] == "Welcome to Gifster"
    assert mail["To"] == "ann@example.org"
    assert "Hello," in mail.get_body(("plain",)).get_content()
    assert "<h1" in mail.get_body(("html",)).get_content()


BAD = {
    "no address": ({"password": "12345678"}, 422, "email_invalid"),
    "no password": ({"email": "a@b.c"}, 422, "password_invalid"),
    "a short password": ({"email": "a@b.c", "password": "1234567"}, 422, "password_invalid"),
    "a huge password": ({"email": "a@b.c", "password": "a" * 1001}, 422, "password_invalid"),
    "an address without @": ({"email": "ab.c", "password": "12345678"}, 422, "email_invalid"),
    "an address with a line break": (
        {"email": "a@b.c\nBcc: d@e.f", "password": "12345678"}, 422, "email_invalid"),
    "a name with a bell": (
        {"email": "a@b.c", "password": "12345678", "name": "a\x07"}, 422, "name_invalid"),
    "a long name": (
        {"email": "a@b.c", "password": "12345678", "name": "a" * 101}, 422, "name_invalid"),
    "a number as password": ({"email": "a@b.c", "password": 12345678}, 422, "password_invalid"),
}  # fmt: skip


@pytest.mark.parametrize(("body", "status", "code"), BAD.values(), ids=BAD)
def test_bad_sign_ups_are_refused(stack: Stack, body: dict[str, Any], status: int, code: str):
    answer = stack.client.post("/api/users", json=body)

    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_an_address_has_one_account(stack: Stack):
    stack.client.post("/api/users", json=ANN | {"email": "twice@example.org"})

    answer = stack.client.post("/api/users", json=ANN | {"email": " TWICE@example.org "})

    assert (answer.status_code, answer.json()["code"]) == (409, "email_taken")


def test_writing_needs_a_token_or_a_session(strict: Stack):
    # Given requests without a token
    gif = images.gif()
    for answer in (
        strict.upload(gif),
        strict.client.delete("/api/gifs/x"),
        strict.client.patch("/api/gifs/x", json={}),
        strict.client.put("/api/gifs/x/image", files={"image": gif}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (401, "sign_in_first")
        assert answer.headers["www-authenticate"] == "Bearer"

    # And Bob, who has a token
    token = strict.client.post("/api/users", json=ANN | {"email": "bob@x.org"}).json()["token"]
    bob = {"Authorization": f"Bearer {token}"}
    mine = strict.client.post("/api/gifs", files={"image": gif}, headers=bob)
    assert mine.status_code == 202

    # I expect only Bob to be able to change his GIF
    path = f"/api/gifs/{mine.json()['id']}"
    other = strict.client.post("/api/users", json=ANN | {"email": "eve@x.org"}).json()["token"]
    eve = {"Authorization": f"Bearer {other}"}
    assert strict.client.delete(path, headers=eve).json()["code"] == "not_yours"
    assert strict.client.patch(path, json={"title": "a"}, headers=eve).status_code == 403
    assert strict.client.get(path).status_code == 200
    assert strict.client.delete(path, headers=bob).status_code == 204


def test_people_sign_up_log_in_and_log_out_by_page(strict: Stack):
    client = strict.client
    form = {"email": "page@example.org", "password": "correct horse", "name": "Page"}

    # A new account is logged in
    answer = client.post("/signup", data=form)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    page = client.get("/").text
    assert "Page" in page
    assert 'action="/gifs"' in page
    uploaded = client.post("/gifs", files={"image": ("a.gif", images.gif())})
    assert uploaded.status_code == 303
    assert "/trash" in client.get(uploaded.headers["location"]).text

    # Logging out ends the session
    secret = client.cookies["gifster_session"]
    assert client.post("/logout").status_code == 303
    client.cookies.clear()
    client.cookies["gifster_session"] = secret
    assert 'action="/gifs"' not in client.get("/").text
    assert "/trash" not in client.get(uploaded.headers["location"]).text
    client.cookies.clear()

    # Logging in again works, and only with the password
    wrong = client.post("/login", data=form | {"password": "wrong horse"})
    assert wrong.status_code == 403
    assert "The address or the password is wrong." in wrong.text
    assert 'value="page@example.org"' in wrong.text
    nobody = client.post("/login", data=form | {"email": "nobody@example.org"})
    assert "The address or the password is wrong." in nobody.text
    assert client.post("/login", data=form).status_code == 303
    assert "Page" in client.get("/").text
    client.cookies.clear()


def test_a_refused_sign_up_page_says_what_is_wrong_and_keeps_the_input(stack: Stack):
    answer = stack.client.post("/signup", data={"email": "a@b.c", "password": "short"})

    assert answer.status_code == 422
    assert "8 to 1,000 characters" in answer.text
    assert 'value="a@b.c"' in answer.text


def test_an_account_and_its_token_are_made_together_or_not_at_all(booted: Settings):
    user, secret = accounts.sign_up_with_token("a@b.c", "12345678", days=1)
    assert tokens.user_for_token(secret) == user

    # When the token cannot be made
    with pytest.raises(Invalid, match="0 days"):
        accounts.sign_up_with_token("b@b.c", "12345678", days=0)

    # I expect no account, and no mail
    assert [user.email for user in User.select()] == ["a@b.c"]
    assert jobs.Job.select().count() == 1


def test_an_unknown_address_costs_as_much_as_a_known_one():
    assert not passwords._hasher.check_needs_rehash(passwords.NOBODY)


def test_an_expired_token_is_refused(booted: Settings):
    user = accounts.sign_up("a@b.c", "12345678")
    kept, gone = tokens.issue_token(user, 1), tokens.issue_token(user, -1)

    assert tokens.user_for_token(kept) == user
    assert tokens.user_for_token(gone) is None
    assert tokens.user_for_token("") is None
    tokens.revoke_token(kept)
    assert tokens.user_for_token(kept) is None
    assert Token.select().count() == 1


# The mail.


def welcome(user: User, url: str) -> None:
    with db.connection_context():
        accounts.deliver_welcome(user.id, mailers.transport(Mail(url=url)), "G <g@example.org>")


def test_a_mail_is_delivered_by_smtp_once_however_often_the_job_runs(
    booted: Settings, inbox: Inbox
):
    user = accounts.sign_up("ann@example.org", "12345678", "Ännchen")
    User.update(confirmed_at=now()).execute()

    with ThreadPoolExecutor(8) as workers:
        list(workers.map(lambda _: welcome(user, inbox.url), range(16)))

    [mail] = inbox.mails
    assert mail["Subject"] == "Welcome to Gifster, Ännchen"
    assert mail["Message-ID"] == f"<welcome.{user.id}@example.org>"
    assert User.get_by_id(user.id).welcomed_at is not None


def test_a_mail_that_the_server_refused_is_tried_again(booted: Settings, inbox: Inbox):
    user = accounts.sign_up("ann@example.org", "12345678")

    inbox.answer = "451 try again later"
    with pytest.raises(mailers.NotDelivered):
        welcome(user, inbox.url)
    with pytest.raises(mailers.NotDelivered):
        welcome(user, "smtp://127.0.0.1:1")
    inbox.answer = "250 OK"
    welcome(user, inbox.url)
    welcome(user, inbox.url)

    assert len(inbox.mails) == 1


def test_a_mail_that_may_have_been_delivered_is_not_sent_again(booted: Settings):
    # Given a mail server that breaks the connection after it got the mail
    user = accounts.sign_up("ann@example.org", "12345678")
    sent = []

    class Breaking:
        def deliver(self, message: EmailMessage) -> None:
            sent.append(message)
            raise TimeoutError

        def check(self) -> str:
            return ""

    with pytest.raises(TimeoutError):
        accounts.deliver_welcome(user.id, Breaking(), "G <g@example.org>")
    accounts.deliver_welcome(user.id, Breaking(), "G <g@example.org>")

    assert len(sent) == 1
    assert User.get_by_id(user.id).welcomed_at is None


def test_a_real_worker_sends_one_mail_although_the_job_runs_twice(
    new_stack: Callable[..., Stack], inbox: Inbox
):
    stack = new_stack(GIFSTER_MAIL__URL=inbox.url)
    stack.start_web()
    user = stack.client.post("/api/users", json=ANN).json()
    broker = jobs.connect(stack.environment["GIFSTER_BROKER__URL"])
    for _ in range(3):
        broker.enqueue(
            jobs.Job(actor="send_welcome_email", queue="default", arguments=[user["id"]]).message()
            .copy(options={"outbox_id": None})
        )  # fmt: skip
    broker.close()

    stack.start_worker()

    eventually(lambda: stack.log("dramatiq-gifster.actors").count(" done actor=send_welcome") == 4)
    assert [mail["To"] for mail in inbox.mails] == ["ann@example.org"]


def test_a_deleted_user_gets_no_mail(booted: Settings):
    accounts.deliver_welcome("nobody", mailers.transport(booted.mail), "G <g@example.org>")
