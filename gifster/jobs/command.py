"""`python -m gifster.jobs`: runs an application's workers and scheduler, and migrates its tables.

    python -m gifster.jobs run myapp.actors

`myapp.actors` is the module that calls `jobs.connect()`, binds the tables and declares the actors.
`run` starts a worker and a scheduler, each in a process of its own, and starts them again when they
die. Those two are commands, too, for machines that run only one of them.
"""

import argparse
import importlib
import logging
import os
import signal
import sys
from collections.abc import Sequence

import peewee

from gifster.jobs import scheduler
from gifster.jobs.brokers.abilities import is_stub
from gifster.jobs.database_errors import is_database_error
from gifster.jobs.job import outbox_database
from gifster.jobs.old_schema import what_lacks
from gifster.jobs.parent import end_with_supervisor, stopping_signals
from gifster.jobs.printer import say
from gifster.jobs.process_group import CannotStart, ProcessGroup
from gifster.jobs.recurring import RecurringJob, declared_recurring
from gifster.jobs.schema import TABLES, migrate, sql, usable_database
from gifster.jobs.sending import FOR_TESTS, current_broker
from gifster.jobs.transactions import NotBound
from gifster.jobs.worker_command import run_workers

#: How long jobs may take to finish once the workers stop (seconds): a second or two less than most
#: supervisors wait before they kill.
GRACE_S = 8.0
#: How much longer than that the processes may take to end (seconds).
STOP_S = 12.0
#: The most processes, and the most threads of each; the longest time to finish (seconds).
MOST, MOST_GRACE_S = 1_000, 86_400.0
#: As Dramatiq's own.
_FORMAT = "[%(asctime)s] [PID %(process)d] [%(threadName)s] [%(name)s] [%(levelname)s] %(message)s"


class Refused(Exception):
    """The command cannot be carried out; says why."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
      the exit status.
    """
    parsed = _parser().parse_args(arguments)
    try:
        return int(parsed.run(parsed))
    except (Refused, CannotStart) as error:
        print(f"gifster.jobs: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m gifster.jobs",
        description="Run and set up background jobs.",
        formatter_class=_narrow,
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, function, text in (
        ("run", _run, "run workers and a scheduler, and start them again when they die"),
        ("worker", _worker, "run only workers"),
        ("scheduler", _scheduler, "run only a scheduler: the relay and the recurring jobs"),
        ("migrate", _migrate, "bring the tables of the jobs up to date"),
    ):
        command = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        command.add_argument("module", help="the module of your actors, such as myapp.actors")
        command.set_defaults(run=function)
        if name in ("run", "worker"):
            _add_worker_options(command)
    command = commands.add_parser("sql", help="print the migrations as SQL, for a tool of yours")
    command.add_argument("database", choices=["postgresql", "sqlite"])
    help_ = "leave out the migrations up to this number"
    command.add_argument("--after", type=_number, default=0, metavar="NUMBER", help=help_)
    command.set_defaults(run=_sql)
    return parser


def _narrow(prog: str) -> argparse.HelpFormatter:
    """Indents so little that `scheduler` has its summary beside it."""
    return argparse.HelpFormatter(prog, indent_increment=1)


def _add_worker_options(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("--queues", nargs="+", metavar="QUEUE", help="only these (default: those of all actors)")
    add("--processes", type=_count, default=1, help="worker processes (default: 1)")
    add("--threads", type=_count, default=8, help="threads of each (default: 8)")
    help_ = f"seconds that jobs get to finish when the workers stop (default: {GRACE_S:g})"
    add("--grace", type=_seconds, default=GRACE_S, metavar="SECONDS", help=help_)


def _count(text: str) -> int:
    """A number of processes or threads."""
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MOST:
        raise argparse.ArgumentTypeError(f"{text!r}: write a number from 1 to {MOST}")
    return int(text)


def _number(text: str) -> int:
    """The number of a migration, or 0."""
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r}: write the number of a migration, or 0")
    return int(text)


def _seconds(text: str) -> float:
    """A time that jobs get."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= MOST_GRACE_S:  # NaN is not, either
        wanted = f"write a number of seconds from 0 to {MOST_GRACE_S:g}"
        raise argparse.ArgumentTypeError(f"{text!r}: {wanted}")
    return seconds


def _worker_options(options: argparse.Namespace) -> list[str]:
    names = ("processes", "threads", "grace")
    given = [word for name in names for word in (f"--{name}", str(getattr(options, name)))]
    return given + (["--queues", *options.queues] if options.queues else [])


def _run(options: argparse.Namespace) -> int:
    group = ProcessGroup({**os.environ, "PYTHONUNBUFFERED": "1"}, say, options.grace + STOP_S)
    for number in stopping_signals():
        signal.signal(number, group.ask_to_stop)
    try:
        commands = ["gifster.jobs", "worker", options.module, *_worker_options(options)]
        worker = group.start("worker", commands, lambda child: "ready for action" in child.output)
        for number in (signal.SIGTSTP, signal.SIGCONT):
            signal.signal(number, lambda number, _: worker.signal(number))
        commands = ["gifster.jobs", "scheduler", options.module]
        group.start("scheduler", commands, lambda child: "is ready" in child.output)
        if group.wait_until_ready():
            group.note(f"{options.module} is running (SIGTERM or Ctrl-C stops it)")
        group.keep_running()
    finally:
        group.stop()
    return 0


def _worker(options: argparse.Namespace) -> int:
    end_with_supervisor()
    again = ["-m", "gifster.jobs", "worker", options.module, *_worker_options(options)]
    return run_workers(
        options.module,
        again=again,
        queues=options.queues,
        processes=options.processes,
        threads=options.threads,
        grace_s=options.grace,
    )


def _scheduler(options: argparse.Namespace) -> int:
    end_with_supervisor()
    _load(options.module)
    logging.basicConfig(level=logging.INFO, format=_FORMAT)
    # As Dramatiq does in workers: while RabbitMQ is away, the relay says so, once.
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    broker = current_broker()
    if broker is None:
        raise Refused(f"{options.module} sets no broker: call jobs.connect(url) in it")
    if is_stub(broker):
        raise Refused(FOR_TESTS)
    _check_tables()
    try:
        scheduler.run()
    except LookupError as error:
        raise Refused(str(error)) from None
    return 0


def _check_tables() -> None:
    """Refuse to begin with tables that lack something. A database that is away may come."""
    if declared_recurring() and RecurringJob._meta.database is None:
        raise Refused(
            "recurring jobs are declared, but only the outbox has a database: call "
            "database.bind(gifster.jobs.TABLES)"
        )
    try:
        with _database().connection_context():
            why = what_lacks(TABLES)
    except Exception as error:
        if not is_database_error(error):
            raise
        return  # the log says it in every round
    if why is not None:
        raise Refused(why)


def _migrate(options: argparse.Namespace) -> int:
    _load(options.module)
    try:
        with _database().connection_context():
            applied = migrate(_database())
    except Exception as error:
        if not is_database_error(error):
            raise
        raise Refused(f"the database cannot be migrated: {error}") from None
    for name in applied:
        print(f"applied {name}")
    if not applied:
        print("the tables are up to date")
    return 0


def _sql(options: argparse.Namespace) -> int:
    print(sql(options.database, options.after), end="")
    return 0


def _load(module: str) -> None:
    """Import the application's module, which connects the broker and binds the tables."""
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        raise Refused(
            f"there is no module {module} here ({error}): run this in your application's folder"
        ) from None


def _database() -> peewee.Database:
    try:
        return usable_database(outbox_database())
    except (NotBound, TypeError) as error:
        raise Refused(str(error)) from None
