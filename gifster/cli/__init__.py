"""The `gifster` command. Each module has the commands of one kind: thin functions that call the
application."""

import sys

from gifster.app.errors import SettingsError
from gifster.cli import (
    admins,
    backup,
    files,
    jobs,
    moderation,
    processes,
    setup,
    sign_in,
    tokens,
    transfer,
    users,
)
from gifster.cli.root import cli, say

__all__ = [
    "admins", "backup", "cli", "files", "jobs", "main", "moderation", "processes", "setup",
    "sign_in", "tokens", "transfer", "users",
]  # fmt: skip


def main() -> None:
    """Run the command that `sys.argv` names. Wrong settings are one line, and exit status 1."""
    try:
        cli()
    except SettingsError as error:
        say(f"gifster: {error}", err=True)
        sys.exit(1)
