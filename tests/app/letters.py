"""Reads the mails that Gifster sends in a test."""

import email
import re
from collections.abc import Callable
from email.message import EmailMessage
from email.policy import default
from pathlib import Path

import httpx

from gifster import jobs
from gifster.app import accounts
from gifster.app.accounts import confirming, invitations, password_changes
from gifster.app.accounts.post import Post
from gifster.app.settings import Settings
from gifster.app.sign_in import notices

#: What the actors of these names call.
DELIVER: dict[str, Callable[..., None]] = {
    "send_welcome_email": lambda user_id, post: accounts.deliver_welcome(
        user_id, post.transport, post.sender, post.web
    ),
    "send_password_reset": password_changes.deliver_reset,
    "send_password_changed": password_changes.deliver_password_changed,
    "send_confirmation": lambda address, *rest: confirming.deliver_confirmation(
        address, rest[0] if len(rest) == 2 else None, rest[-1]
    ),
    "send_email_taken": confirming.deliver_taken,
    "send_email_changed": confirming.deliver_email_changed,
    "send_invitation": invitations.deliver,
    "send_sign_in_changed": notices.deliver,
}


def run_mail_jobs(settings: Settings) -> list[EmailMessage]:
    """Run the jobs of the outbox that send mails, as a worker does. Returns the mails that they
    have sent, in their order."""
    sent = []
    for job in list(jobs.Job.select().order_by(jobs.Job.created_at)):
        before = set(_files())
        DELIVER[job.actor](*job.arguments, Post.of(settings))
        job.delete_instance()
        sent += [read(path) for path in set(_files()) - before]
    return sent


def _files() -> list[Path]:
    return list(Path("var/mail").glob("*.eml"))


def read(path: Path) -> EmailMessage:
    return email.message_from_bytes(path.read_bytes(), policy=default)


def text_of(mail: EmailMessage) -> str:
    return mail.get_body(("plain",)).get_content()


def link_of(mail: EmailMessage) -> str:
    """The link of a mail, which its text and its HTML have."""
    [link] = re.findall(r"https?://\S+", text_of(mail))
    assert f'href="{link}"' in mail.get_body(("html",)).get_content()
    return link


def path_of(mail: EmailMessage) -> str:
    return httpx.URL(link_of(mail)).path


def secret_of(mail: EmailMessage) -> str:
    return link_of(mail).rpartition("/")[2]
