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
from gifster.cli.root import cli

__all__ = [
    "admins", "backup", "cli", "files", "jobs", "main", "moderation", "processes", "setup",
    "sign_in", "tokens", "transfer", "users",
]  # fmt: skip


def main() -> None:
    """Run the command that `sys.argv` names."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed, which no library of ours expects
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 to the end
    cli()
