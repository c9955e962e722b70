"""People's accounts: sign up, log in, passwords, admins. `tokens` has their sessions and API
tokens.

The rest has modules of its own: `password_changes`, `confirming`, `invitations`, `profile`,
`exports`, `leaving`, `people`.

Plain synchronous functions, like those of `library`: call them with a database connection open.
"""

import logging

from gifster.app.accounts import exports, invitations, mail_secrets
from gifster.app.accounts.logging_in import account_with, check_may_log_in, find_user, log_in
from gifster.app.accounts.passwords import has_password
from gifster.app.accounts.signing_up import (
    add,
    deliver_welcome,
    sign_up,
    sign_up_to_confirm,
    sign_up_with_token,
)
from gifster.app.accounts.standing import admins, disable, enable, set_admin

__all__ = [
    "account_with",
    "add",
    "admins",
    "check_may_log_in",
    "deliver_welcome",
    "disable",
    "enable",
    "find_user",
    "forget_expired",
    "has_password",
    "log_in",
    "set_admin",
    "sign_up",
    "sign_up_to_confirm",
    "sign_up_with_token",
]

logger = logging.getLogger("gifster.app.accounts")


def forget_expired() -> None:
    """Delete the secrets of mails, the invitations and the exports that are too old."""
    secrets, invited = mail_secrets.forget_expired(), invitations.forget_old()
    exported = exports.forget_expired()
    logger.info("forgot secrets=%d invitations=%d exports=%d", secrets, invited, exported)
