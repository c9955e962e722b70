"""The admins: `admins list`, `add`, `remove`."""

import click

from gifster.cli.root import Refused, cli, open_database, refusal, say, settings_here, text


@cli.group()
def admins() -> None:
    """List, add and remove admins.

    Admins may see the page /jobs, and use its buttons.
    """


@admins.command("list")
def admins_list() -> None:
    """List the admins."""
    from gifster.app.accounts import admins as found

    with open_database(settings_here()):
        people = found()
    for user in people:
        say(f"{user.email}  {user.name}")
    if not people:
        say("no admins: sign up on the page /signup, then run gifster admins add ADDRESS")


@admins.command("add")
@click.argument("address", type=text)
def admins_add(address: str) -> None:
    """Make the account with that e-mail address an admin."""
    _set(address, True)
    say(f"{address} is an admin")
    if number := _full_tokens(address):
        tokens, have = ("API token", "has") if number == 1 else ("API tokens", "have")
        say(
            f"{number} {tokens} of this account {have} the scope admin, and may now do all that "
            f"admins may (gifster tokens list {address} shows them)"
        )


@admins.command("remove")
@click.argument("address", type=text)
@click.option("--force", is_flag=True, help="Even if nobody else is an admin.")
def admins_remove(address: str, force: bool) -> None:
    """Make the account with that e-mail address an ordinary account."""
    _set(address, False, force)
    say(f"{address} is not an admin any more")


def _full_tokens(address: str) -> int:
    from gifster.app import accounts
    from gifster.app.tokens import Kind, Scope, tokens_of

    with open_database(settings_here()):
        found = tokens_of(accounts.find_user(address))
    return sum(token.kind == Kind.TOKEN and token.scope == Scope.ADMIN for token in found)


def _set(address: str, is_admin: bool, force: bool = False) -> None:
    from gifster.app import accounts
    from gifster.app.errors import Conflict, NotFound

    with open_database(settings_here()):
        try:
            accounts.set_admin(address, is_admin, even_last=force)
        except Conflict as error:
            raise Refused(f"{refusal(error).message}, or repeat this with --force") from None
        except NotFound as error:
            raise Refused(
                f"{refusal(error).message}: sign up first, on the page /signup or with "
                "POST /api/users"
            ) from None
