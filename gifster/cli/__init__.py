"""The `gifster` command: one thin function for each thing it can do, in the module of its kind."""

import sys

from gifster.app.settings import SettingsError
from gifster.cli import admins, files, jobs, processes, setup, users
from gifster.cli.root import cli, say

__all__ = ["admins", "cli", "files", "jobs", "main", "processes", "setup", "users"]


def main() -> None:
    """The way in."""
    try:
        cli()
    except SettingsError as error:
        say(f"gifster: {error}", err=True)
        sys.exit(1)
