"""Mails, sent from a worker. Their secrets are made here: no job carries one."""

from typing import Any

import dramatiq

from gifster.actors.setup import settings
from gifster.app.errors import NoAddress

#: A mail server that is away for some hours loses no mail.
_RETRIES: dict[str, Any] = {
    "max_retries": 20,
    "min_backoff": 1_000,
    "max_backoff": 3_600_000,
    "throws": NoAddress,
}


@dramatiq.actor(queue_name="default", **_RETRIES)
def send_welcome_email(user_id: str) -> None:
    """Send a user the welcome mail, once."""
    from gifster.app import accounts  # noqa: PLC0415 it loads what passwords and mails need
    from gifster.app.mailers import transport  # noqa: PLC0415

    mail = settings.mail
    accounts.deliver_welcome(user_id, transport(mail), mail.sender, settings.web)


@dramatiq.actor(queue_name="default", outbox_only=True, **_RETRIES)
def send_password_reset(email: str) -> None:
    """Send the user with that address, if there is one, a link to choose a new password."""
    from gifster.app.accounts import password_changes  # noqa: PLC0415
    from gifster.app.accounts.post import Post  # noqa: PLC0415

    password_changes.deliver_reset(email, Post.of(settings))


@dramatiq.actor(queue_name="default", outbox_only=True, **_RETRIES)
def send_password_changed(user_id: str) -> None:
    """Tell a user that their password was changed."""
    from gifster.app.accounts import password_changes  # noqa: PLC0415
    from gifster.app.accounts.post import Post  # noqa: PLC0415

    password_changes.deliver_password_changed(user_id, Post.of(settings))


@dramatiq.actor(queue_name="default", outbox_only=True, **_RETRIES)
def send_confirmation(email: str, user_id: str | None = None) -> None:
    """Send a link that confirms an address: of its account, or of the user who wants it."""
    from gifster.app.accounts import confirming  # noqa: PLC0415
    from gifster.app.accounts.post import Post  # noqa: PLC0415

    confirming.deliver_confirmation(email, user_id, Post.of(settings))


@dramatiq.actor(queue_name="default", outbox_only=True, **_RETRIES)
def send_email_taken(email: str) -> None:
    """Tell the owner of an address that somebody wanted to sign up with it."""
    from gifster.app.accounts import confirming  # noqa: PLC0415
    from gifster.app.accounts.post import Post  # noqa: PLC0415

    confirming.deliver_taken(email, Post.of(settings))


@dramatiq.actor(queue_name="default", outbox_only=True, **_RETRIES)
def send_email_changed(user_id: str, former: str) -> None:
    """Tell the former address of a user that another one took its place."""
    from gifster.app.accounts import confirming  # noqa: PLC0415
    from gifster.app.accounts.post import Post  # noqa: PLC0415

    confirming.deliver_email_changed(user_id, former, Post.of(settings))


@dramatiq.actor(queue_name="default", outbox_only=True, **_RETRIES)
def send_invitation(invitation_id: str) -> None:
    """Send an invitation to the address that it is for."""
    from gifster.app.accounts import invitations  # noqa: PLC0415
    from gifster.app.accounts.post import Post  # noqa: PLC0415

    invitations.deliver(invitation_id, Post.of(settings))


@dramatiq.actor(queue_name="default", outbox_only=True, **_RETRIES)
def send_sign_in_changed(user_id: str, what: str, change_id: str) -> None:
    """Tell a user that how they log in has changed."""
    from gifster.app.accounts.post import Post  # noqa: PLC0415
    from gifster.app.sign_in import notices  # noqa: PLC0415

    notices.deliver(user_id, what, change_id, Post.of(settings))
