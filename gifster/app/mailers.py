"""Gifster's mails, and their delivery: by SMTP, or as an `.eml` file.

Their texts are in `mails/`, a `.txt` and an `.html` for each; the first line of the `.txt` is the
subject.
"""

import os
import smtplib
import ssl
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate, parseaddr
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

import jinja2

from gifster.app.errors import NoAddress
from gifster.app.models import User
from gifster.app.private import write_private
from gifster.app.settings import Mail

#: How long a mail server may take to answer; and to take a mail whose content it has, which it may
#: check first (RFC 5321, 4.5.3.2.6, would have ten minutes, for which a thread of a worker waits).
TIMEOUT_S, TAKES_S = 30, 120

_templates = jinja2.Environment(
    loader=jinja2.PackageLoader("gifster.app", "mails"),
    autoescape=jinja2.select_autoescape(["html"]),
    undefined=jinja2.StrictUndefined,
)


class NotDelivered(Exception):
    """The mail server certainly did not accept the mail: sending it again is safe."""


class Transport(Protocol):
    """Delivers mails."""

    def deliver(self, message: EmailMessage) -> None:
        """Hand a mail over.

        Raises:
          NotDelivered: it was certainly not accepted. After any other exception, nobody knows.
        """

    def check(self) -> str:
        """Check whether a mail could be delivered now. Returns a few words for `gifster doctor`.

        Raises:
          NotDelivered: it could not.
        """


class WelcomeMailer:
    """Mails about a new account."""

    @staticmethod
    def welcome_email(user: User, sender: str, link: str = "") -> EmailMessage:
        """The mail to a new user.

        Parameters:
          link: confirms the address; empty if nothing needs to.

        Raises:
          NoAddress: the account's address is not an e-mail address.
        """
        key = f"welcome.{user.id}"
        return mail("welcome", to=user.email, sender=sender, key=key, user=user, link=link)


def mail(
    template: str, *, to: str, sender: str, key: str, user: User | None, **values: str
) -> EmailMessage:
    """A mail made of the templates of that name in `mails/`, which get the user and the values.

    It has the user's name only if it is certain that the address is theirs. A stranger who signs up
    with somebody else's address chooses a name, and it would be our server that sends the text.

    Parameters:
      key: makes the mail's id. The same mail has the same one, so that a receiver can recognize a
        second copy.
      user: whom it concerns; None for nobody who has an account.

    Raises:
      NoAddress: `to` is not one e-mail address.
    """
    knows_them = user is not None and to == user.email and user.confirmed_at is not None
    # The first line may have the name, and becomes a header: the name must stay in that line.
    name = " ".join(user.name.split()) if user is not None and knows_them else ""
    shown = user and {"name": name, "email": user.email}
    return _render(template, to=to, sender=sender, key=key, user=shown, **values)


def _render(template: str, *, to: str, sender: str, key: str, **values: object) -> EmailMessage:
    text = _templates.get_template(f"{template}.txt").render(values)
    subject, _, body = text.partition("\n")
    message = EmailMessage(policy=SMTP)
    message["Subject"] = subject.strip()
    message["From"] = sender
    _address_to(message, to)
    message["Date"] = formatdate()
    domain = parseaddr(sender)[1].partition("@")[2] or "localhost"
    message["Message-ID"] = f"<{key}@{domain}>"
    message["Auto-Submitted"] = "auto-generated"  # nobody's absence is told to us (RFC 3834)
    message.set_content(body.lstrip("\n"))
    message.add_alternative(
        _templates.get_template(f"{template}.html").render(values), subtype="html"
    )
    return message


def _address_to(message: EmailMessage, to: str) -> None:
    """Address a mail to one address. A text with commas would be several addresses.

    Raises:
      NoAddress
    """
    try:
        message["To"] = to
    except ValueError as error:
        raise NoAddress(f"no mail can be sent to {to!r}: {error}") from None
    found = message["To"].addresses
    if len(found) != 1 or found[0].addr_spec != to or not found[0].domain:
        raise NoAddress(f"no mail can be sent to {to!r}: that is not one e-mail address")


def transport(settings: Mail) -> Transport:
    """The transport for `mail.url`: `file:folder`, `smtp://user@host:587`, `smtps://…`."""
    if settings.folder is not None:
        return FileTransport(settings.folder)
    return SmtpTransport(settings.url, settings.password)


class FileTransport:
    """Writes each mail as an `.eml` file, which mail programs open. Its message id is the name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def deliver(self, message: EmailMessage) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            path = self.folder / (message["Message-ID"].strip("<>").partition("@")[0] + ".eml")
            write_private(path, message.as_bytes())
        except OSError as error:
            raise NotDelivered(str(error)) from error

    def check(self) -> str:
        self.folder.mkdir(parents=True, exist_ok=True)
        if not os.access(self.folder, os.W_OK):
            raise NotDelivered(
                f"the folder {self.folder} cannot be written: run this as the user that owns it, "
                "or set mail.url"
            )
        return f"files in {self.folder}"


class _Utf8(str):
    """A text that `smtplib` encodes as UTF-8, where it says ASCII: user names and passwords may
    have any letters (RFC 4616)."""

    __slots__ = ()

    def encode(self, *_: object) -> bytes:
        return super().encode()


class _Told(smtplib.SMTP):
    """A connection that tells whether the server was sent the content of a mail."""

    began = False

    def getreply(self) -> tuple[int, bytes]:
        code, reply = super().getreply()
        if code == 354:
            self.began = True
            if self.sock is not None:
                self.sock.settimeout(TAKES_S)
        return code, reply

    def auth_plain(self, challenge: Any = None) -> str:
        return _Utf8(super().auth_plain(challenge))

    def auth_cram_md5(self, challenge: Any = None) -> Any:
        answer = super().auth_cram_md5(challenge)
        return None if answer is None else _Utf8(answer)


class _ToldByTls(_Told, smtplib.SMTP_SSL):
    pass


class SmtpTransport:
    """Talks to a mail server, with STARTTLS where the server offers it."""

    def __init__(self, url: str, password: str) -> None:
        parts = urlsplit(url)
        self.tls = parts.scheme == "smtps"
        self.host = parts.hostname or "localhost"
        self.port = parts.port or (465 if self.tls else 25)
        self.user = unquote(parts.username or "")
        self.password = password or unquote(parts.password or "")

    def deliver(self, message: EmailMessage) -> None:
        server = self._connect()
        try:
            server.send_message(message)
        except (
            smtplib.SMTPResponseException,
            smtplib.SMTPRecipientsRefused,
            smtplib.SMTPNotSupportedError,
        ) as error:
            raise NotDelivered(str(error)) from error  # the server has refused it
        except OSError as error:
            if server.began:
                raise
            raise NotDelivered(str(error)) from error
        finally:
            server.close()

    def check(self) -> str:
        server = self._connect()
        try:
            code, reply = server.noop()
        finally:
            server.close()
        if code != 250:
            raise NotDelivered(
                f"the mail server {self.host}:{self.port} answers {code} "
                f"{reply.decode(errors='replace')}: check mail.url"
            )
        return f"smtp {self.host}:{self.port}"

    def _connect(self) -> _Told:
        context = ssl.create_default_context()
        try:
            if self.tls:
                server: _Told = _ToldByTls(self.host, self.port, timeout=TIMEOUT_S, context=context)
            else:
                server = _Told(self.host, self.port, timeout=TIMEOUT_S)
        except (OSError, UnicodeError) as error:  # a name of a host may have no form in the DNS
            raise NotDelivered(str(error)) from error
        try:
            server.ehlo()
            if not self.tls and server.has_extn("starttls"):
                server.starttls(context=context)
                server.ehlo()
            if self.user:
                server.login(_Utf8(self.user), _Utf8(self.password))
        except (OSError, UnicodeError) as error:
            server.close()
            raise NotDelivered(str(error)) from error
        return server
