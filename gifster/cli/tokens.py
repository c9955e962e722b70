"""API tokens, for the person who runs the server: `tokens list`, `add`, `revoke`."""

import click

from gifster.cli.root import account_errors, cli, say, settings_here, text, when


@cli.group()
def tokens() -> None:
    """Make, list and revoke API tokens."""


@tokens.command("list")
@click.argument("address", type=text)
def tokens_list(address: str) -> None:
    """List an account's sessions and tokens, by its e-mail address."""
    from rich.console import Console
    from rich.table import Table

    from gifster.app import accounts
    from gifster.app.tokens import tokens_of

    with account_errors():
        found = tokens_of(accounts.find_user(address))
    columns = ["id", "kind", "name", "scope", "created", "last used", "expires"]
    table = Table(*columns, box=None, pad_edge=False)
    for token in found:
        moments = (token.created_at, token.last_used_at, token.expires_at)
        table.add_row(token.id, token.kind, token.name, token.scope, *map(when, moments))
    if found:
        Console(width=160, markup=False, highlight=False).print(table)
    else:
        say("no sessions and no tokens (gifster tokens add ADDRESS --name NAME makes one)")


@tokens.command("add")
@click.argument("address", type=text)
@click.option("--name", type=text, required=True, help="What the token is for.")
@click.option("--scope", type=click.Choice(["read", "write", "admin"]), default="write",
              show_default=True)  # fmt: skip
@click.option(
    "--days",
    type=click.IntRange(1, 3650),
    help="How many days it is valid.  [default: auth.token_days of the settings]",
)
@click.option("--no-end", is_flag=True, help="It is valid until it is revoked.")
def tokens_add(address: str, name: str, scope: str, days: int | None, no_end: bool) -> None:
    """Make a token for an account, and print it.

    ADDRESS is the account's e-mail address. The token is shown only this once. With the scope read
    it can look at GIFs, with write also add and change them, with admin do all that the account
    may.
    """
    from gifster.app import accounts
    from gifster.app.tokens import create_token

    if days is not None and no_end:
        raise click.UsageError("--days and --no-end exclude each other: use one of them")
    if days is None and not no_end:
        days = settings_here().auth.token_days
    with account_errors():
        _, secret = create_token(accounts.find_user(address), name, scope, days)
    say(secret)


@tokens.command("revoke")
@click.argument("token_id", type=text, metavar="ID")
def tokens_revoke(token_id: str) -> None:
    """Revoke a token, or end a session, by its id.

    gifster tokens list ADDRESS has the ids.
    """
    from gifster.app.tokens import revoke

    with account_errors():
        revoke(token_id)
    say(f"revoked {token_id}")
