"""Help for people who cannot log in any more: `users second-factor-off`, `users unlink`."""

import click

from gifster.cli.root import account_errors, say, text
from gifster.cli.users import users


@users.command("second-factor-off")
@click.argument("address", type=text)
def users_second_factor_off(address: str) -> None:
    """Let an account log in by its password alone.

    This removes the authenticator app, passkeys and recovery codes of somebody who has lost them.
    Make sure that the account's owner asks: from now on the password alone is enough.
    """
    from gifster.app import accounts
    from gifster.app.sign_in import second_factor

    with account_errors():
        removed = second_factor.remove_all(accounts.find_user(address), noted=True)
    what = "authenticator app or passkey" if removed == 1 else "authenticator apps and passkeys"
    say(f"{address}: removed {removed} {what}")


@users.command("unlink")
@click.argument("address", type=text)
def users_unlink(address: str) -> None:
    """Forget an account's identities at the sign-in service.

    The next person who has this address at the service, verified, gets the account.
    """
    from gifster.app import accounts
    from gifster.app.sign_in import identities

    with account_errors():
        removed = identities.unlink_all(accounts.find_user(address))
    what = "link" if removed == 1 else "links"
    say(f"{address}: removed {removed} {what} to the sign-in service")
