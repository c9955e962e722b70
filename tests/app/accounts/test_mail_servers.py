"""Mail servers that close the connection, or want a password: a mail that a server was not sent is
tried again, and one that it may have is not."""

import email
from collections.abc import Iterator
from email.message import EmailMessage
from email.policy import default
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from gifster.app import accounts, mailers
from gifster.app.mailers import NotDelivered
from gifster.app.models import User
from gifster.app.settings import Mail, Settings
from tests.machine import free_port

PASSWORD = "gehä€m"


class Server:
    """A mail server that closes the connection at a command that a test sets."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.closes_at = self.url = ""

    def _at(self, command: str, server: Any) -> str:
        if command == self.closes_at:
            server.transport.close()
        return "250 OK"

    async def handle_MAIL(
        self, server: Any, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        envelope.mail_from = address
        return self._at("MAIL", server)

    async def handle_RCPT(
        self, server: Any, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        envelope.rcpt_tos.append(address)
        return self._at("RCPT", server)

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.mails.append(email.message_from_bytes(envelope.content, policy=default))
        return self._at("DATA", server)


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    kept, options = Server(), getattr(request, "param", {})
    controller = Controller(kept, hostname="127.0.0.1", port=free_port(), **options)
    controller.start()
    kept.url = f"smtp://127.0.0.1:{controller.port}"
    yield kept
    controller.stop()


def deliver(user: User, url: str, password: str = "") -> None:
    transport = mailers.transport(Mail(url=url, password=password))
    accounts.deliver_welcome(user.id, transport, "G <g@example.org>")


@pytest.mark.parametrize("command", ["MAIL", "RCPT"])
def test_a_mail_is_tried_again_if_the_connection_ends_before_it_is_sent(
    booted: Settings, server: Server, command: str
):
    user = accounts.sign_up("ann@example.org", "12345678")

    server.closes_at = command
    with pytest.raises(NotDelivered):
        deliver(user, server.url)
    server.closes_at = ""
    deliver(user, server.url)
    deliver(user, server.url)

    assert [mail["To"] for mail in server.mails] == ["ann@example.org"]
    assert server.mails[0]["Auto-Submitted"] == "auto-generated"


def test_a_mail_is_not_sent_again_if_the_connection_ends_after_it(booted: Settings, server: Server):
    user = accounts.sign_up("ann@example.org", "12345678")

    server.closes_at = "DATA"
    with pytest.raises(OSError, match="closed"):
        deliver(user, server.url)
    deliver(user, server.url)

    assert len(server.mails) == 1


def test_a_mail_that_cannot_be_made_yet_is_tried_again(
    booted: Settings, server: Server, monkeypatch: pytest.MonkeyPatch
):
    user = accounts.sign_up("ann@example.org", "12345678")
    transport = mailers.transport(Mail(url=server.url))

    # Given a database that is locked when the link of the mail is made
    def locked(*_: object) -> str:
        raise TimeoutError

    with monkeypatch.context() as patched:
        patched.setattr("gifster.app.accounts.signing_up.confirmation_link", locked)
        with pytest.raises(TimeoutError):
            accounts.deliver_welcome(user.id, transport, "g@example.org", booted.web)
    accounts.deliver_welcome(user.id, transport, "g@example.org", booted.web)

    assert len(server.mails) == 1


def _knows(server: Any, session: Any, envelope: Any, how: str, data: Any) -> AuthResult:
    return AuthResult(success=data.password == PASSWORD.encode(), handled=False)


@pytest.mark.parametrize(
    "server",
    [
        {"authenticator": _knows, "auth_require_tls": False, "auth_exclude_mechanism": excluded}
        for excluded in (["LOGIN"], ["PLAIN"])
    ],
    indirect=True,
    ids=["PLAIN", "LOGIN"],
)
def test_a_password_may_have_any_letters(booted: Settings, server: Server):
    user = accounts.sign_up("ann@example.org", "12345678")
    url = server.url.replace("//", "//bob@")

    with pytest.raises(NotDelivered, match="535"):
        deliver(user, url, "gehäim")
    deliver(user, url, PASSWORD)

    assert len(server.mails) == 1


def test_a_host_that_can_have_no_address_is_a_server_that_is_away():
    host = "a" * 64 + ".example"
    with pytest.raises(NotDelivered, match="idna"):
        mailers.transport(Mail(url=f"smtp://{host}:25")).check()
