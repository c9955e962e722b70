"""People's accounts, for the person who runs the server: `users list`, `add`, `invite`, `reset`,
`disable`, `enable`, `remove`, `admin`, `log-out`."""

from typing import TYPE_CHECKING

import click

from gifster.app.numbers import counted
from gifster.cli.root import (
    account_errors,
    cli,
    connect_our_broker,
    say,
    settings_here,
    settings_of_running,
    text,
    when,
)

if TYPE_CHECKING:
    from gifster.app.models import User
    from gifster.app.settings import Settings


@cli.group()
def users() -> None:
    """Look after people's accounts."""


@users.command("list")
def users_list() -> None:
    """List all accounts, what they have, and their state."""
    from rich.console import Console
    from rich.table import Table

    from gifster.app.accounts.people import everybody

    table = Table("address", "name", "is", "since", "GIFs", "MB", box=None, pad_edge=False)
    with account_errors():
        for person in everybody():
            user, has = person.user, (f"{person.gifs:,}", f"{person.bytes / 1e6:,.1f}")
            table.add_row(user.email, user.name, _standing(user), when(user.created_at), *has)
    if table.rows:
        Console(width=160, markup=False, highlight=False).print(table)
    else:
        say("no accounts: people sign up on the page /signup, or run gifster users add ADDRESS")


def _standing(user: "User") -> str:
    words = {
        "disabled": user.disabled_at is not None,
        "admin": user.is_admin,
        "moderator": user.is_moderator and not user.is_admin,
        "not confirmed": user.confirmed_at is None,
    }
    return ", ".join(word for word, holds in words.items() if holds)


@users.command("add")
@click.argument("address", type=text)
@click.option("--name", type=text, default="", help="By default the part before the @.")
@click.option("--admin", is_flag=True, help="Make it an admin's account.")
@click.option("--mail", is_flag=True, help="Send the link to the address instead.")
def users_add(address: str, name: str, admin: bool, mail: bool) -> None:
    """Make an account, and print a link to choose a password.

    The link is for its user. It works once, and for an hour; gifster users reset prints another
    one. The command works whatever auth.sign_up says.
    """
    from gifster.app import accounts

    settings = settings_of_running()
    if mail:
        connect_our_broker(settings)
    with account_errors(settings):
        user = accounts.add(address, name, in_house=settings.auth.in_house_emails)
        if admin:
            accounts.set_admin(user.email)
        _give_link(settings, user, mail)


@users.command("invite")
@click.argument("address", type=text, required=False)
@click.option("--days", type=click.IntRange(1, 365), default=7, show_default=True,
              help="How long the invitation is good for.")  # fmt: skip
def users_invite(address: str | None, days: int) -> None:
    """Invite somebody to sign up, by a link for one person.

    The command prints the link, or sends it to ADDRESS. If auth.sign_up is "invite", people need an
    invitation to sign up.
    """
    from gifster.app.accounts import invitations

    settings = settings_of_running()
    if address is None:
        with account_errors(settings):
            _, link = invitations.invite(None, settings.web, days=days)
        say(link)
        return
    connect_our_broker(settings)
    with account_errors(settings):
        in_house = settings.auth.in_house_emails
        made = invitations.invite_by_mail(None, address, days=days, in_house=in_house)
    say(f"a worker sends the invitation to {made.email}")


@users.command("reset")
@click.argument("address", type=text)
@click.option("--mail", is_flag=True, help="Send the link to the address instead.")
def users_reset(address: str, mail: bool) -> None:
    """Print a link to choose a new password.

    The link is for the account's user. It works once, and for an hour. Their sessions end when they
    have chosen one; gifster users log-out ends them now.
    """
    from gifster.app import accounts
    from gifster.app.tokens import check_enabled

    settings = settings_of_running()
    if mail:
        connect_our_broker(settings)
    with account_errors(settings):
        user = accounts.find_user(address)
        check_enabled(user)
        _give_link(settings, user, mail)


def _give_link(settings: "Settings", user: "User", mail: bool) -> None:
    from gifster.app.accounts import password_changes
    from gifster.app.accounts.post import Post

    if mail:
        password_changes.ask_for_reset(user.email)
        say(f"a worker sends the link to {user.email}")
    else:
        say(password_changes.reset_link(user, Post.of(settings)))


@users.command("disable")
@click.argument("address", type=text)
@click.option("--force", is_flag=True, help="Even if nobody else is an admin.")
def users_disable(address: str, force: bool) -> None:
    """Let nobody use that account.

    This ends its sessions, revokes its tokens and refuses to log it in. Its GIFs stay. The
    invitations of an admin end.
    """
    from gifster.app import accounts

    with account_errors():
        revoked = accounts.disable(accounts.find_user(address), even_last=force)
    say(f"{address} is disabled: {_ended(revoked)} ended")


def _ended(number: int) -> str:
    return counted(number, "session or token", "sessions and tokens")


@users.command("enable")
@click.argument("address", type=text)
def users_enable(address: str) -> None:
    """Let people use that account again. Its former sessions and tokens stay revoked."""
    from gifster.app import accounts

    with account_errors():
        accounts.enable(accounts.find_user(address))
    say(f"{address} is enabled")


@users.command("remove")
@click.argument("address", type=text)
@click.option(
    "--gifs",
    type=click.Choice(["keep", "delete"]),
    required=True,
    help="Whether its public and unlisted GIFs stay, without an owner. Others go in any case.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
def users_remove(address: str, gifs: str, yes: bool) -> None:
    """Delete that account for good.

    Its user can do so on the account page, too. Nobody can log in to it at once. A worker does the
    rest.
    """
    from gifster.app import accounts
    from gifster.app.accounts import leaving
    from gifster.app.sign_in import claiming

    settings = settings_here()
    connect_our_broker(settings)
    with account_errors(settings):
        user = accounts.find_user(address)
        if not yes:
            click.confirm(f"Delete the account of {user.email} ({user.name})?", abort=True)
        leaving.leave(
            user,
            with_gifs=gifs == "delete",
            by_command=True,
            end_ways_in=claiming.end_ways_in,
        )
    say(f"{address} can no longer log in; a worker removes the account")


@users.command("admin")
@click.argument("address", type=text)
@click.option("--remove", is_flag=True, help="Make it an ordinary account.")
@click.option("--force", is_flag=True, help="With --remove: even if nobody else is an admin.")
@click.pass_context
def users_admin(context: click.Context, address: str, remove: bool, force: bool) -> None:
    """Make that account an admin's.

    gifster admins add does the same.
    """
    from gifster.cli.admins import admins_add, admins_remove

    if remove:
        context.invoke(admins_remove, address=address, force=force)
    else:
        context.invoke(admins_add, address=address)


@users.command("log-out")
@click.argument("address", type=text)
def users_log_out(address: str) -> None:
    """End all sessions of an account, and revoke its tokens.

    ADDRESS is the account's e-mail address.
    """
    from gifster.app import accounts, tokens

    with account_errors():
        revoked = tokens.log_out_everywhere(accounts.find_user(address))
    say(f"logged out {address}: {_ended(revoked)}")
