"""People's accounts: sign up, log in, passwords, admins. `tokens` has their sessions and API
tokens.

The rest has modules of its own: `password_changes`, `confirming`, `invitations`, `people`.

Plain synchronous functions, like those of `library`: call them with a database connection open.
"""

from gifster.app.accounts.logging_in import account_with, check_may_log_in, find_user, log_in
from gifster.app.accounts.passwords import has_password
from gifster.app.accounts.signing_up import add, deliver_welcome, sign_up, sign_up_with_token
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
    "has_password",
    "log_in",
    "set_admin",
    "sign_up",
    "sign_up_with_token",
]
