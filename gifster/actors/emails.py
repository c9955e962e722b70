"""Mails, sent from a worker."""

import dramatiq

from gifster.actors.setup import settings
from gifster.app import accounts
from gifster.app.mailers import NoAddress, transport


@dramatiq.actor(
    queue_name="default",
    max_retries=12,
    min_backoff=1_000,
    max_backoff=300_000,
    throws=NoAddress,
)
def send_welcome_email(user_id: str) -> None:
    """Send a user the welcome mail, once."""
    accounts.deliver_welcome(user_id, transport(settings.mail), settings.mail.sender)
