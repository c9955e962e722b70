"""The two sides of `bench.whole`: Gifster as it is shipped, and CarrierWave with Sidekiq.

Each starts its processes in a folder of its own, on the same Valkey, and says how far its uploads
are by reading its database.
"""

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import httpx
import psutil
import redis

from tests.machine import eventually, free_port
from tests.stack import Stack

HERE = Path(__file__).parent
ROOT = str(HERE.parent)


class State(NamedTuple):
    """How far an upload is: whether its first thumbnail can be seen, and whether all is done."""

    shown: bool
    ready: bool
    failed: bool


class Gifster:
    """Gifster's web server, worker and scheduler.

    Parameters:
      versions: the names of those that the worker makes; none means all.
      processes: worker processes, of four threads each.
    """

    path = "/api/gifs"

    def __init__(
        self, folder: Path, broker_url: str, versions: tuple[str, ...] = (), processes: int = 1
    ) -> None:
        self._stack = Stack(folder, broker_url, PYTHONPATH=ROOT, BENCH_VERSIONS=" ".join(versions))
        self._actors = "bench.whole_fewer_versions" if versions else "gifster.actors"
        self._processes = processes
        self.port = self._stack.port

    def start(self) -> None:
        self._stack.migrate()
        web = self._stack.start_web()
        worker = self._stack.start(
            "dramatiq", self._actors, "--queues", "default", "carrierwave",
            "--processes", str(self._processes), "--threads", "4",
        )  # fmt: skip
        scheduler = self._stack.start("gifster", "scheduler")
        self.roots = {"web": web.pid, "worker": worker.pid, "scheduler": scheduler.pid}
        self._database = sqlite3.connect(
            f"file:{self._stack.var}/gifster.db?mode=ro", uri=True, check_same_thread=False
        )
        workers = "SELECT COUNT(*) FROM worker"
        eventually(
            lambda: self._database.execute(workers).fetchone()[0] == self._processes, within=30
        )

    def states(self) -> dict[str, State]:
        rows = self._database.execute("SELECT id, image IS NOT NULL, image_state FROM gif")
        return {
            gif: State(bool(shown), state == "ready", state == "failed")
            for gif, shown, state in rows
        }

    def written(self) -> dict[str, list[float]]:
        """When the files of each version were written (seconds since the epoch)."""
        found: dict[str, list[float]] = {}
        for path in (self._stack.var / "store").rglob("*.*"):
            version = path.stem.partition("-")[0]  # an original's name has a secret part
            found.setdefault(version, []).append(path.stat().st_mtime)
        return found

    @staticmethod
    def makes_pictures(process: psutil.Process) -> bool:
        return "sandbox_server" in " ".join(process.cmdline())

    def stop(self) -> None:
        self._stack.stop()


class CarrierWave:
    """Puma, and Sidekiq with four threads. `missing()` says what is not installed."""

    path = "/gifs"

    def __init__(self, folder: Path, broker_url: str) -> None:
        self._folder, self.port = folder, free_port()
        self._environment = os.environ | {"BENCH_URL": broker_url, "BENCH_FOLDER": str(folder)}
        self._redis = redis.Redis.from_url(broker_url)
        self._started: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        address = f"tcp://127.0.0.1:{self.port}"
        web = self._start(
            "puma", "--bind", address, "--threads", "8:8", "--environment", "production",
            str(HERE / "whole_carrierwave.ru"),
        )  # fmt: skip
        eventually(self._answers, within=30)
        worker = self._start(
            "sidekiq", "--require", str(HERE / "whole_carrierwave.rb"), "--concurrency", "4",
            "--queue", "default,5", "--queue", "carrierwave,3",
        )  # fmt: skip
        eventually(lambda: self._redis.scard("processes"), within=30)
        self.roots = {"web": web, "worker": worker}
        self._database = sqlite3.connect(
            f"file:{self._folder}/bench.db?mode=ro", uri=True, check_same_thread=False
        )

    @staticmethod
    def missing() -> str:
        """Which parts are not installed, for a person; empty if nothing is missing."""
        commands = ("ruby", "puma", "sidekiq", "mogrify")
        absent = [command for command in commands if shutil.which(command) is None]
        gems = ("carrierwave", "mini_magick", "active_record", "sqlite3")
        if "ruby" not in absent:
            load = ["ruby", *(f"-r{gem}" for gem in gems), "-e", "0"]
            if subprocess.run(load, capture_output=True, check=False).returncode:
                absent.append(f"one of the gems {', '.join(gems)}")
        return ", ".join(absent)

    def _start(self, command: str, *arguments: str) -> int:
        process = subprocess.Popen(
            [command, *arguments], cwd=self._folder, env=self._environment, start_new_session=True,
            stdout=(self._folder / f"{command}.log").open("ab"), stderr=subprocess.STDOUT,
        )  # fmt: skip
        self._started.append(process)
        return process.pid

    def _answers(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/").status_code == 200
        except httpx.TransportError:
            return False

    def states(self) -> dict[str, State]:
        rows = self._database.execute("SELECT id, image IS NOT NULL, image_processing FROM gifs")
        return {
            str(gif): State(bool(stored), bool(stored and not processing), False)
            for gif, stored, processing in rows
        }

    def written(self) -> Mapping[str, list[float]]:
        found: dict[str, list[float]] = {}
        for path in (self._folder / "store").rglob("*.*"):
            version = path.name.partition("_")[0]
            name = version if version in ("thumb", "preview") else "original"
            found.setdefault(name, []).append(path.stat().st_mtime)
        return found

    @staticmethod
    def makes_pictures(process: psutil.Process) -> bool:
        return process.name() not in ("ruby", "puma", "sidekiq")

    def stop(self) -> None:
        self._redis.close()
        for process in self._started:
            process.terminate()
            process.wait(30)
