"""Mails, sent from a worker."""

import dramatiq

from gifster.actors.setup import settings
from gifster.app.errors import NoAddress


@dramatiq.actor(
    queue_name="default",
    max_retries=12,
    min_backoff=1_000,
    max_backoff=300_000,
    throws=NoAddress,
)
def send_welcome_email(user_id: str) -> None:
    """Send a user the welcome mail, once."""
    from gifster.app import accounts  # noqa: PLC0415 it loads what passwords and mails need
    from gifster.app.mailers import transport  # noqa: PLC0415

    accounts.deliver_welcome(user_id, transport(settings.mail), settings.mail.sender)
