"""The scenarios. Each takes a folder, a number of uploads and a seed, and returns a `Verdict`."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil

from chaos.databases import NotHere, postgresql_server
from chaos.proxy import FaultProxy
from chaos.site import Site
from chaos.stream import Promises, Stream
from chaos.verdict import Verdict, judge, settle
from tests import s3
from tests.machine import eventually

#: A scenario's stream ends after this time (seconds), however far it is.
STREAM_S = 150.0
#: How many of the uploads per second are sent that a scenario would send.
PACE = 1.0
#: How long S3 is dead at the start (seconds).
DEAD_S = 30.0
#: The largest backlog (uploads), for how long at least processes are killed over it, and how
#: long working it off may take beside the busy writers (seconds).
MOST_BACKLOG, BACKLOG_S, WORKED_OFF_S = 600, 20.0, 300.0
ROLES = {"web": 1, "worker": 2, "scheduler": 1}

Scenario = Callable[[Path, int, int], Verdict]


def run(
    name: str,
    site: Site,
    uploads: int,
    seed: int,
    trouble: Callable[[threading.Event], None],
    per_s: float = 18.0,
) -> Verdict:
    """Send a stream of uploads to a site while `trouble` runs, until its event is set."""
    started = time.monotonic()
    try:
        site.start()
        stream = Stream(site, uploads, seed, per_s * PACE)
        calm = threading.Event()
        cut = threading.Timer(STREAM_S, stream.over.set)
        cut.start()
        with ThreadPoolExecutor(1) as troublemaker:
            troubled = troublemaker.submit(trouble, calm)
            promises: Promises = stream.run()
            cut.cancel()
            calm.set()
            troubled.result()  # raises the error if the trouble did not happen
        return judge(name, site, promises, started)
    finally:
        site.stop()


def kills(folder: Path, uploads: int, seed: int) -> Verdict:
    """Kill worker, web and one of two schedulers with -9, one every 1 to 3 seconds."""
    chance = random.Random(seed)
    site = Site(folder, ROLES | {"scheduler": 2})

    def trouble(calm: threading.Event) -> None:
        roles = ["worker", "web", "worker", "scheduler"]
        while not calm.wait(chance.uniform(1, 3)):
            site.kill(roles[0], chance.choice)
            site.blows += 1
            roles.append(roles.pop(0))

    return run("worker, web, scheduler killed", site, uploads, seed, trouble, per_s=20.0)


def broker(folder: Path, uploads: int, seed: int) -> Verdict:
    """Kill the broker every 2 to 4 seconds, for 1 to 3 seconds; it loses its data half the time."""
    chance = random.Random(seed)
    site = Site(folder, ROLES)

    def trouble(calm: threading.Event) -> None:
        empty = False
        while not calm.wait(chance.uniform(2, 4)):
            site.kill_valkey()
            site.blows += 1
            time.sleep(chance.uniform(1, 3))
            site.start_valkey(empty=empty)
            empty = not empty

    return run("broker killed, with and without its data", site, uploads, seed, trouble)


def locked(folder: Path, uploads: int, seed: int) -> Verdict:
    """Repeatedly hold SQLite's write lock for 2 to 5 seconds."""
    chance = random.Random(seed)
    site = Site(folder, ROLES)

    def trouble(calm: threading.Event) -> None:
        while not calm.wait(chance.uniform(1, 3)):
            other = sqlite3.connect(folder / "var" / "gifster.db", timeout=10, isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            site.blows += 1
            time.sleep(chance.uniform(2, 5))
            other.execute("ROLLBACK")
            other.close()

    return run("SQLite locked for seconds", site, uploads, seed, trouble)


def postgresql(folder: Path, uploads: int, seed: int) -> Verdict:
    """Restart PostgreSQL every 2 to 4 seconds, at once, with all connections cut."""
    chance = random.Random(seed)
    with postgresql_server() as server:
        server.psql("CREATE DATABASE chaos")
        site = Site(folder, ROLES, GIFSTER_DATABASE__URL=server.get_uri("chaos"))

        def trouble(calm: threading.Event) -> None:
            while not calm.wait(chance.uniform(2, 4)):
                # SIGQUIT is "immediate": it cuts all connections, and cleans nothing up.
                pid = server.get_pid()
                os.kill(pid, signal.SIGQUIT)
                eventually(lambda gone=pid: not psutil.pid_exists(gone))
                server.ensure_postgres_running()
                site.blows += 1

        return run("PostgreSQL restarted", site, uploads, seed, trouble)


def storage(folder: Path, uploads: int, seed: int) -> Verdict:
    """Put store and cache on an S3 server that is dead for half a minute, then answers 500 and 503,
    is slow, resets connections, and is dead for up to 3 seconds. Sometimes kill a worker, too."""
    chance = random.Random(seed)
    folder.mkdir(parents=True)
    (folder / "s3").mkdir()
    with s3.running(folder / "s3") as server, FaultProxy(server.port, seed) as proxy:
        variables: dict[str, str] = {}
        for section in ("cache", "store"):
            settings = server.settings(section)
            settings[f"GIFSTER_{section.upper()}__ENDPOINT_URL"] = proxy.url
            variables |= settings
        site = Site(folder / "site", ROLES, **variables)

        def trouble(calm: threading.Event) -> None:
            calm.wait(2)
            proxy.fault = "dead"
            site.blows += 1
            time.sleep(DEAD_S)
            proxy.fault = ""
            while not calm.wait(chance.uniform(1, 2)):
                proxy.fault = chance.choice(["error", "slow", "reset", "dead"])
                site.blows += 1
                if chance.random() < 0.3:
                    site.kill("worker", chance.choice)
                calm.wait(chance.uniform(1, 3))
                proxy.fault = ""
            proxy.fault = ""

        return run("S3 dead for 30 s, 500, 503, resets, slow", site, uploads, seed, trouble)


def full(folder: Path, uploads: int, seed: int) -> Verdict:
    """Put cache and store on small disks, and repeatedly fill them to the last byte."""
    chance = random.Random(seed)
    with _small_disk(folder / "cache") as cache, _small_disk(folder / "store") as store:
        site = Site(folder / "site", ROLES, GIFSTER_CACHE__ROOT=str(cache),
                    GIFSTER_STORE__ROOT=str(store))  # fmt: skip

        def trouble(calm: threading.Event) -> None:
            while not calm.wait(chance.uniform(1, 2)):
                disk = chance.choice([cache, store])
                _fill(disk / "ballast")
                site.blows += 1
                calm.wait(chance.uniform(1, 4))
                (disk / "ballast").unlink()

        return run("disk full, cache and store", site, uploads, seed, trouble)


@contextmanager
def _small_disk(folder: Path) -> Iterator[Path]:
    folder.mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if mounted.returncode:
        raise NotHere(f"no small disk can be mounted: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as ballast:
        for size in (1024 * 1024, 4096, 1):
            try:
                while True:
                    ballast.write(bytes(size))
            except OSError:
                continue


def clock(folder: Path, uploads: int, seed: int) -> Verdict:
    """Set the clock of all our processes forward and back by up to two hours; kill workers."""
    chance = random.Random(seed)
    folder.mkdir(parents=True)
    offset = folder / "offset"
    offset.write_text("0")
    wrong = {"PYTHONPATH": str(Path(__file__).parent / "clock"), "CHAOS_CLOCK": str(offset)}
    site = Site(folder / "site", ROLES, **wrong)

    def trouble(calm: threading.Event) -> None:
        while not calm.wait(chance.uniform(1, 3)):
            site.kill("worker", chance.choice)
            (folder / "next").write_text(str(chance.randint(-7200, 7200)))
            (folder / "next").replace(offset)
            site.blows += 1

    verdict = run("clock set by up to 2 h, workers killed", site, uploads, seed, trouble)
    verdict.recovery_s = None  # the logs use those clocks
    return verdict


def backlog(folder: Path, uploads: int, seed: int) -> Verdict:
    """Send most uploads without broker, workers and scheduler. Then start all of them over this
    backlog, while two other processes write to the database all the time. Kill workers and
    schedulers, one every 1 to 3 seconds."""
    chance = random.Random(seed)
    uploads = min(uploads, MOST_BACKLOG)
    site = Site(folder, {"web": 1})
    started = time.monotonic()
    try:
        site.start()
        site.kill_valkey()
        first = Stream(site, uploads * 4 // 5, seed, per_s=60.0).run()
        site.start_valkey()
        site.add({"worker": 2, "scheduler": 2})
        with _busy(folder / "var" / "gifster.db"):
            rest = Stream(site, uploads - len(first.accepted), seed + 1, per_s=10.0)
            with ThreadPoolExecutor(1) as client:
                sent = client.submit(rest.run)
                roles = ["worker", "scheduler"]
                until = time.monotonic() + BACKLOG_S
                while time.monotonic() < until or not sent.done():
                    time.sleep(chance.uniform(1, 3))
                    site.kill(roles[0], chance.choice)
                    site.blows += 1
                    roles.append(roles.pop(0))
                promises = first.joined(sent.result())
            settle(site, promises, WORKED_OFF_S)
            verdict = judge("restarted over a backlog, busy database", site, promises, started)
            verdict.recovery_s = None  # jobs that are sent again wait behind the backlog
            return verdict
    finally:
        site.stop()


WRITER = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)
connection.execute("CREATE TABLE IF NOT EXISTS noise (text TEXT)")
while True:
    connection.execute("INSERT INTO noise (text) VALUES ('…')")
    time.sleep(0.001)
"""


@contextmanager
def _busy(database: Path) -> Iterator[None]:
    """Run two processes that each insert a row every millisecond."""
    command = [sys.executable, "-c", WRITER, str(database)]
    writers = [subprocess.Popen(command) for _ in range(2)]
    try:
        yield
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()


SCENARIOS: dict[str, tuple[Scenario, float]] = {
    # name: the scenario, and its fraction of all uploads
    "kills": (kills, 0.4),
    "broker": (broker, 0.1),
    "locked": (locked, 0.1),
    "postgresql": (postgresql, 0.1),
    "storage": (storage, 0.1),
    "full": (full, 0.1),
    "clock": (clock, 0.1),
    "backlog": (backlog, 0.2),
}

__all__ = ["SCENARIOS", "NotHere", "Scenario"]
