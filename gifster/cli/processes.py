"""What runs: `dev`, `web`, `worker`, `scheduler`."""

import os
import resource
import shutil
import sys
from contextlib import suppress
from pathlib import Path

import click

from gifster.app.drivers import loading
from gifster.cli.ports import check_address
from gifster.cli.root import (
    Refused,
    check_broker,
    check_installation,
    cli,
    connect_our_broker,
    end_with_supervisor,
    refused_by_the_database,
    settings_here,
    wait_until_migrated,
)

#: No process of ours needs more open files than this.
MOST_FILES = 65_536
#: The files that a web process needs beside its connections: databases, modules, logs.
OWN_FILES = 256
MOST_CONNECTIONS = 4_000


@cli.command()
@click.option("--port", type=click.IntRange(1, 65535), help="The web server's port.")
@click.option("--watch", is_flag=True, help="Restart web, worker, scheduler when code changes.")
def dev(port: int | None, watch: bool) -> None:
    """Run everything on this machine.

    It starts a broker (if none is set), the web server, workers and the scheduler. Ctrl-C stops
    them.
    """
    from gifster.cli import supervisor

    supervisor.run(port, watch=watch)


@cli.command()
def web() -> None:
    """Run the web server.

    SIGTERM stops it in order: after `web.drain_s` seconds, in which `/readyz` answers 503. Requests
    under way get `web.grace_s` seconds more.
    """
    from granian.constants import HTTPModes, Interfaces
    from granian.http import HTTP1Settings

    settings = settings_here()
    from gifster.app.boot import check_files
    from gifster.app.tracing import check_traces
    from gifster.cli.web_server import DrainingServer

    check_installation(settings)
    check_address(settings.web.host, settings.web.port, shared=True)
    check_broker(settings)
    check_files(settings)
    check_traces(settings.traces)
    end_with_supervisor()
    if settings.web.workers > 1:
        _count_together(Path("var/metrics"))
    DrainingServer(
        settings.web.drain_s,
        factory=True,
        interface=Interfaces.ASGI,
        address=settings.web.host,
        port=settings.web.port,
        workers=settings.web.workers,
        websockets=False,
        backlog=4096,
        # The most open connections of a process. Slow uploads are many, and cost next to nothing.
        backpressure=_connections(_allow_many_files()),
        respawn_failed_workers=True,
        workers_kill_timeout=settings.web.grace_s,
        # In its other modes granian first looks whether a client speaks HTTP/2, and waits for ever
        # when the client sends nothing.
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(
            header_read_timeout=round(settings.web.head_timeout_s * 1000),
            # A connection keeps as much memory as granian has once read ahead on it, for as long as
            # its body lasts. 128 kB cost no less CPU time.
            max_buffer_size=64 * 1024,
        ),
    ).serve()


def _allow_many_files() -> int:
    """Raise the soft limit of open files, which is 1,024 on most systems, to the hard one.

    Returns:
      the most files that a process may have open from now on.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if 0 <= soft < wanted:
        with suppress(ValueError, OSError):  # macOS has a lower limit than it says
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    return soft if soft >= 0 else MOST_FILES


def _connections(files: int) -> int:
    """The most connections of a process that may have so many files open: an upload has two."""
    return max(16, min(MOST_CONNECTIONS, (files - OWN_FILES) // 2))


def _count_together(folder: Path) -> None:
    """Have the processes of this web server count requests together, in a new folder. The folders
    of servers that have ended are removed."""
    from gifster.app.settings import COUNTED_IN

    for old in folder.glob("[0-9]*"):
        try:
            os.kill(int(old.name), 0)
        except ProcessLookupError:
            shutil.rmtree(old, ignore_errors=True)
        except PermissionError:
            continue  # it runs, as another user
    mine = folder / str(os.getpid())
    shutil.rmtree(mine, ignore_errors=True)
    mine.mkdir(parents=True)
    os.environ[COUNTED_IN] = str(mine.absolute())


@cli.command()
def worker() -> None:
    """Run workers for background jobs.

    The same as `dramatiq gifster.actors`, with the queues and thread counts of the settings.

    SIGTERM stops them in order, SIGHUP restarts them. SIGTSTP makes them quiet: they finish the
    jobs that they have, and take no new ones until SIGCONT.
    """
    settings = settings_here()
    from gifster.app.boot import check_files
    from gifster.app.tracing import check_traces
    from gifster.jobs.worker_command import run_workers

    check_installation(settings)
    check_broker(settings)
    check_files(settings)
    check_traces(settings.traces)
    end_with_supervisor()
    wait_until_migrated(settings)
    status = run_workers(
        "gifster.actors",
        again=["-m", "gifster", "worker"],
        queues=list(settings.queues),
        processes=settings.worker.processes,
        threads=settings.worker.threads,
        grace_s=settings.worker.grace_s,
    )
    sys.exit(status)


@cli.command()
def scheduler() -> None:
    """Run the scheduler for recurring jobs and retries.

    It sends all jobs that are due. More than one scheduler may run.
    """
    from gifster.app.logs import log_to_stderr
    from gifster.jobs.sending import FOR_TESTS

    log_to_stderr()
    settings = settings_here()
    check_installation(settings)
    end_with_supervisor()
    wait_until_migrated(settings)
    with loading():
        from gifster import scheduler as gifster_scheduler
        from gifster.app.boot import configure
        from gifster.app.tracing import trace_process

    configure(settings)
    connect_our_broker(settings)
    trace_process(settings.traces)
    if settings.broker.url.startswith("stub:"):
        raise Refused(FOR_TESTS)
    with refused_by_the_database():
        gifster_scheduler.run(settings)
