"""What runs: `dev`, `web`, `worker`, `scheduler`."""

import multiprocessing
import os
import resource
import shutil
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path

import click

from gifster.app.settings import COUNTED_IN
from gifster.cli.root import (
    Refused,
    check_broker,
    cli,
    connect_our_broker,
    end_with_supervisor,
    refused_by_the_database,
    settings_here,
)

#: More open files than this help no process of ours.
MOST_FILES = 65_536
#: How many of them a web process needs beside its connections: databases, modules, logs.
OWN_FILES = 256
MOST_CONNECTIONS = 4_000


@cli.command()
@click.option("--port", type=click.IntRange(1, 65535), help="The web server's port.")
@click.option("--watch", is_flag=True, help="Start anew what runs the code when that changes.")
def dev(port: int | None, watch: bool) -> None:
    """Run everything on this machine: broker, web, workers, scheduler."""
    from gifster.cli import supervisor

    try:
        supervisor.run(port, watch=watch)
    except supervisor.SupervisorError as error:
        raise Refused(str(error)) from None


@cli.command()
def web() -> None:
    """Run the web server."""
    from granian import Granian
    from granian.constants import HTTPModes, Interfaces
    from granian.http import HTTP1Settings

    from gifster.app.boot import check_files

    settings = settings_here()
    _check_address(settings.web.host, settings.web.port)
    check_broker(settings)
    check_files(settings)
    end_with_supervisor()
    _count_together(Path("var/metrics"))
    Granian(
        "gifster.api.app:build",
        factory=True,
        interface=Interfaces.ASGI,
        address=settings.web.host,
        port=settings.web.port,
        workers=settings.web.workers,
        websockets=False,
        backlog=4096,
        # How many connections a process has open. Slow uploads are many that cost next to nothing.
        backpressure=_connections(_allow_many_files()),
        respawn_failed_workers=True,
        workers_kill_timeout=10,
        # In its other mode granian looks first whether a client speaks HTTP/2, and waits for ever
        # for one that says nothing.
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(
            header_read_timeout=round(settings.web.head_timeout_s * 1000),
            # Quick uploads are as much memory each as is read before it is wanted. More than this
            # makes none of them quicker, and requests beside them wait longer.
            max_buffer_size=32 * 1024,
        ),
    ).serve()


def _check_address(host: str, port: int) -> None:
    """Raises `Refused` if the web server cannot listen there. Another `gifster web` can share the
    port, and then the two share the connections."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if hasattr(socket, "SO_REUSEPORT"):
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            probe.bind((host, port))
    except OSError as error:
        raise Refused(
            f"the address {host}:{port} cannot be used ({error.strerror}): choose another one "
            "(GIFSTER_WEB__HOST, GIFSTER_WEB__PORT)"
        ) from None


def _allow_many_files() -> int:
    """Raise the soft limit of open files, which is 1,024 on most systems, to the hard one.

    Returns:
      how many files a process may have open from now on.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if 0 <= soft < wanted:
        with suppress(ValueError, OSError):  # macOS has a lower limit than it says
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    return soft if soft >= 0 else MOST_FILES


def _connections(files: int) -> int:
    """How many connections a process takes that may have so many files open: an upload has two."""
    return max(16, min(MOST_CONNECTIONS, (files - OWN_FILES) // 2))


def _count_together(folder: Path) -> None:
    """Have the processes of this web server count requests together, in a new folder. Those of
    servers that are no more are removed."""
    for old in folder.glob("[0-9]*"):
        try:
            os.kill(int(old.name), 0)
        except ProcessLookupError:
            shutil.rmtree(old, ignore_errors=True)
        except PermissionError:
            continue  # it lives, and is somebody else's
    mine = folder / str(os.getpid())
    shutil.rmtree(mine, ignore_errors=True)
    mine.mkdir(parents=True)
    os.environ[COUNTED_IN] = str(mine.absolute())


@cli.command()
def worker() -> None:
    """Run workers: `dramatiq gifster.actors` with the queues and thread counts of the settings.

    SIGTERM stops them in order, SIGHUP starts them anew. SIGTSTP makes them quiet: they finish what
    they have, and take no new jobs until SIGCONT.
    """
    from dramatiq.cli import main as dramatiq
    from dramatiq.cli import make_argument_parser

    settings = settings_here()
    end_with_supervisor()
    for number in (signal.SIGTSTP, signal.SIGCONT):
        signal.signal(number, _tell_the_workers)
    # What Dramatiq becomes again when it starts anew (SIGHUP).
    sys.argv = [sys.executable, "-m", "gifster", "worker"]
    arguments = ["gifster.actors", "--queues", *settings.queues]
    arguments += ["--processes", str(settings.worker.processes)]
    arguments += ["--threads", str(settings.worker.threads)]
    # A process that dies at once is not waited for: Dramatiq's default is half a minute.
    arguments += ["--worker-fork-timeout", "5000"]
    arguments += ["--worker-shutdown-timeout", str(round(settings.worker.grace_s * 1000))]
    sys.exit(dramatiq(make_argument_parser().parse_args(arguments)))


def _tell_the_workers(number: int, frame: object) -> None:
    for process in multiprocessing.active_children():
        if process.pid is not None:
            os.kill(process.pid, number)


@cli.command()
def scheduler() -> None:
    """Run the scheduler: what is done every so often. More than one may run."""
    from gifster import scheduler as gifster_scheduler
    from gifster.app.boot import configure
    from gifster.app.logs import log_to_stderr

    log_to_stderr()
    settings = settings_here()
    configure(settings)
    connect_our_broker(settings)
    end_with_supervisor()
    with refused_by_the_database():
        gifster_scheduler.run(settings)
