"""The kinds that `bench/queues.py` measures: how each one's worker and enqueuing side are started,
and where its jobs wait."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import redis

from tests.machine import BIN, signal_group

HERE = Path(__file__).parent
QUEUES = ("--queues", "default", "carrierwave", "--processes", "1", "--threads", "8")
#: The end of a name: the worker writes no lines about jobs.
BARE = ", bare"
PEER_NAMES = ("Celery", "RQ", "Huey", "Procrastinate")
SIDEKIQ = shutil.which("sidekiq")
#: A virtual environment with celery[redis], rq, huey and procrastinate.
PEERS = Path(os.environ.get("BENCH_PEERS", ".venv/peers")).absolute() / "bin"


@dataclass
class Side:
    """A kind that is measured.

    Parameters:
      worker, client: the commands.
      left: returns how many no-op jobs are not done.
      jobs: how many no-op jobs a round has.
      word: is in the command line of its working processes.
    """

    name: str
    url: str
    worker: tuple[str, ...]
    client: tuple[str, ...]
    left: Callable[[], int]
    jobs: int
    word: str
    env: dict[str, str] = field(default_factory=dict)
    folder: Path = HERE

    @property
    def redis(self) -> redis.Redis:
        return redis.Redis.from_url(self.url)

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {"BENCH_URL": self.url, **self.env}

    @contextmanager
    def working(self, log: Path) -> Iterator[subprocess.Popen[bytes]]:
        """Its worker, which runs meanwhile and writes its log to a file."""
        with log.open("ab") as file:
            process = subprocess.Popen(
                self.worker, env=self.environment, cwd=self.folder, start_new_session=True,
                stdout=file, stderr=subprocess.STDOUT,
            )  # fmt: skip
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                signal_group(process, 9)
                process.wait()

    @contextmanager
    def enqueuing(self) -> Iterator[Callable[..., float | None]]:
        """Its enqueuing side: a call of it with a line returns the number that answers."""
        process = subprocess.Popen(
            self.client, env=self.environment | {"BENCH_CLIENT": "1"}, cwd=self.folder, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert process.stdin
        assert process.stdout
        assert process.stdout.readline() == "ready\n", self.name

        def ask(*words: object) -> float | None:
            print(*words, file=process.stdin, flush=True)
            answer = process.stdout.readline().strip()
            return None if answer == "-" else float(answer)

        try:
            yield ask
        finally:
            process.stdin.close()
            process.wait(30)


def sides(server: str, folder: Path, postgresql: str | None) -> Iterator[Side | str]:
    """All kinds that can be measured here; of another one, why it cannot."""
    databases = iter(range(1, 32))
    url = lambda: f"{server}/{next(databases)}"  # noqa: E731
    yield from _ours(url, folder)
    yield _dramatiq("Dramatiq", url(), "stock")  # it writes no lines about jobs
    for bare in (False, True):
        at, name = url(), f"Sidekiq{BARE * bare}"
        yield _sidekiq(name, at, bare=bare) if SIDEKIQ else f"{name}: sidekiq is not installed"
    for name in PEER_NAMES:
        if not (PEERS / "python").exists():
            yield f"{name}: no virtual environment {PEERS.parent} (BENCH_PEERS)"
        elif name == "Procrastinate" and postgresql is None:
            yield f"{name}: needs PostgreSQL"
        else:
            yield _peer(name, url(), postgresql)


def _ours(url: Callable[[], str], folder: Path) -> Iterator[Side]:
    yield _dramatiq(f"ours{BARE}", url(), "broker")
    for name, outbox in (("ours", {}), ("ours, with the outbox", {"BENCH_OUTBOX": "1"})):
        where, at = folder / name.replace(", ", "-").replace(" ", "-"), url()
        where.mkdir()
        env = outbox | {
            "BENCH_KIND": "application",
            "GIFSTER_BROKER__URL": at,
            "PYTHONPATH": str(HERE.parent),
        }
        shutil.copy(HERE.parent / "settings.toml", where)
        subprocess.run([BIN / "gifster", "migrate"], cwd=where, check=True, capture_output=True,
                       env=os.environ | env)  # fmt: skip
        yield Side(
            name, at, (str(BIN / "dramatiq"), "gifster.actors", "bench.queue_actors", *QUEUES),
            (sys.executable, "-m", "bench.queue_actors"), _hash(at, "dramatiq:default.msgs"),
            jobs=10_000, word="queue_actors", env=env, folder=where,
        )  # fmt: skip


def _dramatiq(name: str, url: str, kind: str) -> Side:
    return Side(
        name, url, (str(BIN / "dramatiq"), "bench.queue_actors", *QUEUES),
        (sys.executable, "-m", "bench.queue_actors"), _hash(url, "dramatiq:default.msgs"),
        jobs=10_000, word="queue_actors", folder=HERE.parent,
        env={"BENCH_KIND": kind},
    )  # fmt: skip


def _sidekiq(name: str, url: str, *, bare: bool) -> Side:
    jobs = str(HERE / "sidekiq_jobs.rb")
    weights = ("-q", "default,5", "-q", "carrierwave,3")
    return Side(
        name, url, (str(SIDEKIQ), "-r", jobs, "-c", "8", *weights), ("ruby", jobs),
        _list(url, "queue:default"), jobs=10_000, word="sidekiq",
        env={"BENCH_BARE": "1"} if bare else {},
    )  # fmt: skip


def _peer(name: str, url: str, postgresql: str | None) -> Side:
    worker = {
        "Celery": ("celery", "-A", "queue_peers", "worker", "-l", "INFO", "-P", "threads",
                   "-c", "8"),
        "RQ": ("rq", "worker", "--url", url, "--logging_level", "INFO"),
        "Huey": ("huey_consumer", "queue_peers.huey", "-w", "8", "-k", "thread"),
        "Procrastinate": ("procrastinate", "--log-level", "info", "--app=queue_peers.app",
                          "worker", "--concurrency", "8"),
    }[name]  # fmt: skip
    left = {
        "Celery": _list(url, "celery", "unacked"),
        "RQ": _list(url, "rq:queue:default"),
        "Huey": _list(url, "huey.redis.bench"),
        "Procrastinate": lambda: _todo(str(postgresql)),
    }[name]
    env = {"BENCH_KIND": name, "PYTHONPATH": str(HERE)}
    if postgresql is not None:
        env["BENCH_POSTGRESQL"] = postgresql
    return Side(
        name, url, (str(PEERS / worker[0]), *worker[1:]),
        (str(PEERS / "python"), "-c", "import queue_peers; queue_peers.main()"), left,
        jobs=500 if name == "RQ" else 2_000, word=worker[0], env=env,
    )  # fmt: skip


def _hash(url: str, key: str) -> Callable[[], int]:
    client = redis.Redis.from_url(url)
    return lambda: int(client.hlen(key))


def _list(url: str, key: str, hash_key: str = "") -> Callable[[], int]:
    client = redis.Redis.from_url(url)
    return lambda: int(client.llen(key)) + (int(client.hlen(hash_key)) if hash_key else 0)


def _todo(postgresql: str) -> int:
    import psycopg  # noqa: PLC0415 only where it is measured

    with psycopg.connect(postgresql) as connection:
        row = connection.execute(
            "SELECT count(*) FROM procrastinate_jobs WHERE status IN ('todo', 'doing')"
        ).fetchone()
    return int(row[0]) if row else 0
