"""The page of the command line: what `--help` says of every command."""

from collections.abc import Iterator

import click

import gifster.cli  # noqa: F401 it declares all commands
from gifster.cli.root import cli


def page() -> str:
    """The page, in Markdown."""
    text = "# Command line\n\n"
    for command, context in _commands(
        click.Context(cli, info_name="gifster", max_content_width=90)
    ):
        level = "##" if context.parent is None or context.parent.parent is None else "###"
        text += f"{level} {context.command_path}\n\n"
        text += f"```text\n{command.get_help(context)}\n```\n\n"
    return text


def _commands(context: click.Context) -> Iterator[tuple[click.Command, click.Context]]:
    """A command and those below it, each with its context."""
    command = context.command
    yield command, context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None and not below.hidden:
                yield from _commands(
                    click.Context(below, info_name=name, parent=context, max_content_width=90)
                )
