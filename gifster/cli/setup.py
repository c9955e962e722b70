"""Setting up, and checks: `migrate`, `doctor`, `install`, `demo`."""

import sys

import click

from gifster.app.logs import escaped
from gifster.cli.root import Refused, cli, say, settings_here, settings_of_running


@cli.command()
@click.option("--new", is_flag=True, help="Make a new installation in this folder.")
def migrate(new: bool) -> None:
    """Bring the database's schema up to date.

    It makes a SQLite database that is missing only in a folder with a settings.toml, or with --new.
    A database that a later release has migrated is refused: there is no way back.
    """
    from gifster.app import database, installation
    from gifster.app.private import close_to_others, refuse_served_secrets

    # Without boot, which loads the image engine and the broker.
    settings = settings_here()
    if not new:
        try:
            installation.check_may_begin(settings)
        except installation.NoInstallation as error:
            raise Refused(str(error)) from None
    refuse_served_secrets(settings)
    close_to_others(settings)
    database.connect(settings.database.url, durable=settings.durability == "fsync")
    try:
        applied = database.migrate()
    except database.DatabaseUnavailable as error:
        raise Refused(str(error)) from None
    for name in applied:
        say(f"applied {name}")
    if not applied:
        say("the schema is up to date")


@cli.command()
def doctor() -> None:
    """Check everything that Gifster needs.

    It prints a line for each check: of the broker, the database, the storages, the mail, the
    workers and the scheduler. The exit status is 1 if a check fails, and 0 if there are only
    warnings, such as that no worker runs. It reads all of a SQLite file, which takes some seconds
    for each gigabyte.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from gifster.app import installation
    from gifster.cli.doctor import Warned, checks

    settings = settings_of_running()
    try:
        installation.check_traces(settings)
    except installation.NoInstallation as error:
        raise Refused(str(error)) from None
    table = Table(box=None, show_header=False, pad_edge=False)
    failed = False
    for name, check in checks(settings):
        try:
            said = check()
            state = "[yellow]warning[/yellow]" if isinstance(said, Warned) else "[green]ok[/green]"
            table.add_row(name, state, escape(escaped(said)))
        except Exception as error:  # noqa: BLE001 whatever it is, it is the answer
            failed = True
            table.add_row(
                name, "[red]FAILS[/red]", escape(escaped(str(error) or type(error).__name__))
            )
    Console(width=200 if not sys.stdout.isatty() else None).print(table)
    sys.exit(1 if failed else 0)


@cli.command()
@click.argument("model", metavar="MODULE:MODEL")
@click.argument("column")
@click.option("--many", is_flag=True, help="The column has several files (mount_uploaders).")
@click.option("--process", is_flag=True, help="Store at once, and only process in background.")
@click.option("--no-state", is_flag=True, help="No columns for an upload's state and its error.")
@click.option("--yes", is_flag=True, help="Overwrite without asking.")
def install(  # noqa: PLR0913, PLR0917 options
    model: str, column: str, many: bool, process: bool, no_state: bool, yes: bool
) -> None:
    """Adopt gifster.uploads in the application of this folder.

    The application must have Peewee models. The command writes the settings block, the migration
    for COLUMN and its companions, and actors.py for the workers, and says what to add to the model.
    It keeps existing files, and asks before it overwrites one. Running it twice changes nothing.

    Example: gifster install shop.models:User avatar
    """
    from pathlib import Path

    from gifster.uploads.install import CannotInstall, Wish
    from gifster.uploads.install import install as write

    def may_overwrite(path: Path) -> bool:
        if yes or not sys.stdin.isatty():
            return yes
        return click.confirm(f"{path.name} has other content. Overwrite it?", default=False)

    try:
        wish = Wish(model, column, many, process, state=not no_state)
        for line in write(wish, Path.cwd(), may_overwrite):
            click.echo(line)
    except (CannotInstall, OSError) as error:
        raise Refused(str(error)) from None


@cli.command()
@click.option("--port", type=click.IntRange(1, 65535), help="The port of the running web server.")
@click.option(
    "--count", type=click.IntRange(1, 1000), default=12, show_default=True, help="How many GIFs."
)
def demo(port: int | None, count: int) -> None:
    """Upload sample GIFs to a running Gifster.

    It must run on this machine, and allow anonymous uploads, as gifster dev does.
    """
    from gifster.cli.demo import run

    web = settings_of_running().web
    run(web.host, port or web.port, count, web.root_path)
