"""Who may log in, and with which address and password."""

from gifster.app import addresses
from gifster.app.accounts.passwords import is_password
from gifster.app.errors import Denied, NotFound
from gifster.app.models import User
from gifster.app.tokens import check_enabled


def check_may_log_in(user: User, *, confirmed_only: bool = False) -> None:
    """Raise an error unless an account may log in. Call it once it is known who logs in, however
    that is known: only its owner may learn what is wrong with an account.

    Parameters:
      confirmed_only: whether its address must be confirmed (`auth.confirm_emails`).

    Raises:
      Denied: it is disabled (`account_disabled`), or its address is not confirmed
        (`email_unconfirmed`).
    """
    check_enabled(user)
    if confirmed_only and user.confirmed_at is None:
        raise Denied(
            "email_unconfirmed",
            f"The address {user.email} is not confirmed yet. Open the link in the mail that was "
            "sent to it.",
        )


def log_in(email: str, password: str, *, confirmed_only: bool = False) -> User:
    """The user with that address and password, who may log in.

    Parameters:
      confirmed_only: as `check_may_log_in()`.

    Raises:
      Denied: no account has them. It does not say whether the address is known. Or the account may
        not log in, as `check_may_log_in()`.
    """
    user = account_with(email)
    if not is_password(user, password) or user is None:
        raise Denied("login_failed", "The address or the password is wrong.")
    check_may_log_in(user, confirmed_only=confirmed_only)
    return user


def find_user(email: str) -> User:
    """The user with that address.

    Raises:
      NotFound: there is no account with that address.
    """
    user = account_with(email)
    if user is None:
        raise NotFound("account_not_found", f"There is no account with the address {email}.")
    return user


def account_with(email: str) -> User | None:
    """The account with an address, however it is spelt. One that has it as typed comes first."""
    spellings = addresses.spellings(email)
    found = {user.email: user for user in User.select().where(User.email.in_(spellings))}
    return next((found[spelling] for spelling in spellings if spelling in found), None)
