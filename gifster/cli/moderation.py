"""Moderation, for the person who runs the server: `moderation list`, `add`, `remove`, `log`."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from gifster.cli.root import Refused, cli, open_database, refusal, say, settings_here, text, when

if TYPE_CHECKING:
    from gifster.app.moderation.log import ModerationEntry
    from gifster.app.moderation.roles import Role

#: How many entries are read at a time.
AT_ONCE = 100


@cli.group()
def moderation() -> None:
    """List, add and remove moderators, and read what they did.

    Moderators edit, hide and remove the GIFs of others, and decide about reports.
    """


@moderation.command("list")
def moderation_list() -> None:
    """List the moderators."""
    from gifster.app.moderation.roles import Role, with_role

    with open_database(settings_here()):
        people = with_role(Role.MODERATOR)
    for user in people:
        say(f"{user.email}  {user.name}")
    if not people:
        say("no moderators: gifster moderation add ADDRESS makes one. Admins moderate, too")


@moderation.command("add")
@click.argument("address", type=text)
def moderation_add(address: str) -> None:
    """Make the account with that e-mail address a moderator."""
    from gifster.app.moderation.roles import Role

    _set(address, Role.MODERATOR)
    say(f"{address} is a moderator")


@moderation.command("remove")
@click.argument("address", type=text)
def moderation_remove(address: str) -> None:
    """Make the account with that e-mail address an ordinary account."""
    from gifster.app.moderation.roles import Role

    _set(address, Role.MEMBER)
    say(f"{address} is not a moderator any more")


@moderation.command("log")
@click.option("--gif", type=text, default="", help="Only entries about the GIF with this id.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="How many.")
@click.option("--json", "as_json", is_flag=True, help="A JSON object a line, as the API has it.")
def moderation_log(gif: str, limit: int, as_json: bool) -> None:
    """Print what moderators did, the newest first."""
    found = False
    with open_database(settings_here()):
        for entry in _entries(gif, limit):
            say(_json(entry) if as_json else _line(entry))
            found = True
    if not found:
        say(f"no entries about the GIF {gif}" if gif else "no entries", err=True)


def _entries(gif: str, limit: int) -> "Iterator[ModerationEntry]":
    from gifster.app.moderation.log import entries

    cursor: str | None = ""
    while cursor is not None and limit > 0:
        found, cursor = entries(gif_id=gif, cursor=cursor, limit=min(limit, AT_ONCE))
        limit -= len(found)
        yield from found


def _line(entry: "ModerationEntry") -> str:
    changed = "; ".join(f"{name}: {old} → {new}" for name, (old, new) in entry.changed.items())
    parts = [
        when(entry.at),
        entry.moderator_name or "a command",
        entry.action,
        f"{entry.gif_id or entry.user_id} {entry.subject!r}",
        entry.reason,
        changed,
    ]
    return "  ".join(part for part in parts if part)


def _json(entry: "ModerationEntry") -> str:
    from gifster.app.moderation.log import entry_json

    return json.dumps(entry_json(entry), ensure_ascii=False)


def _set(address: str, role: "Role") -> None:
    from gifster.app import accounts
    from gifster.app.errors import NotFound
    from gifster.app.moderation.roles import Role, role_of, set_role

    with open_database(settings_here()):
        try:
            user = accounts.find_user(address)
            if role_of(user) is Role.ADMIN:
                raise Refused(
                    f"{address} is an admin, who may do all that moderators may: run gifster "
                    "admins remove first"
                )
            set_role(user, role)
        except NotFound as error:
            raise refusal(error) from None
