"""The `gifster` command. Each module has the commands of one kind: thin functions that call the
application."""

import os
import sys

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
from gifster.cli.root import cli, reason_of, say

__all__ = [
    "admins", "backup", "cli", "files", "jobs", "main", "moderation", "processes", "setup",
    "sign_in", "tokens", "transfer", "users",
]  # fmt: skip


def main() -> None:
    """Run the command that `sys.argv` names."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed, which no library of ours expects
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 to the end
    status: int | str | None = 1
    try:
        cli()
    except SystemExit as ended:
        status = ended.code
    except OSError as error:  # before a command begins, as `--help` may
        say(f"gifster: {reason_of(error)}", err=True)
    try:
        sys.stdout.flush()
    except OSError as error:
        # Python would try once more when it ends, and print a traceback.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not status:
            say(f"gifster: {reason_of(error)}", err=True)
            status = 1
    sys.exit(status)
