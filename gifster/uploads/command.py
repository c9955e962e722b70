"""`python -m gifster.uploads`: adopts the framework in an application (see `install.py`).

python -m gifster.uploads install shop.models:User avatar
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from gifster.uploads.install import CannotInstall, Wish, install

DESCRIPTION = """\
Adopt gifster.uploads in the Peewee application of this folder.

Writes the settings block, the migration for COLUMN and its companions, and actors.py for the
workers, and says what to add to the model. It keeps existing files, and asks before it overwrites
one. Running it twice changes nothing.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
      the exit status.
    """
    options = _parser().parse_args(arguments)

    def may_overwrite(path: Path) -> bool:
        if options.yes or not sys.stdin.isatty():
            return bool(options.yes)
        return input(f"{path.name} has other content. Overwrite it? [y/N] ").lower() in ("y", "yes")

    wish = Wish(
        options.model, options.column, options.many, options.process, state=not options.no_state
    )
    try:
        for line in install(wish, Path.cwd(), may_overwrite):
            print(line)
    except (CannotInstall, OSError) as error:
        print(f"gifster.uploads: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m gifster.uploads")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    command = commands.add_parser(
        "install",
        help="adopt gifster.uploads in the application of this folder",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = command.add_argument
    add("model", metavar="MODULE:MODEL", help="the model, such as shop.models:User")
    add("column", metavar="COLUMN", help="the name of the new column, such as avatar")
    add("--many", action="store_true", help="the column has several files (mount_uploaders)")
    add("--process", action="store_true", help="store at once, and only process in background")
    add("--no-state", action="store_true",
        help="no columns for the state of an upload and the reason why it failed")  # fmt: skip
    add("--yes", action="store_true", help="overwrite without asking")
    return parser
