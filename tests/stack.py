"""Gifster's own processes in a folder of their own, for tests and benchmarks; and how to wait."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from gifster.app import settings
from tests.fork_server import Forked, fork_server
from tests.machine import BIN, eventually, free_port, signal_group

Started = subprocess.Popen[bytes] | Forked


class Stack:
    """Gifster's processes in a folder of their own, against a Valkey database of their own.

    Parameters:
      folder: becomes their working folder; `var/` is made there.
      broker_url: the broker.
      variables: more settings, as environment variables.
    """

    #: Whether each command starts Python, as a user's does; if not, the fork server forks. (The
    #: tests say so in `app/fixtures.py`.) Another PYTHONPATH always needs a new Python.
    fresh = True

    def __init__(self, folder: Path, broker_url: str, **variables: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.processes: list[Started] = []
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(settings.PREFIX)},
            "GIFSTER_BROKER__URL": broker_url,
            "GIFSTER_WEB__PORT": str(self.port),
            "GIFSTER_AUTH__ANONYMOUS_UPLOADS": "true",
            "GIFSTER_AUTH__ANONYMOUS_CHANGES": "true",
            "GIFSTER_LIMITS__ENABLED": "false",
            "PYTHONUNBUFFERED": "1",
            # Their own, so that no sweep meets what other tests' workers are about.
            "TMPDIR": str(folder / "tmp"),
            **variables,
        }
        if self.environment["GIFSTER_LIMITS__ENABLED"] == "true":
            # A web process that has no answer in half a second counts for itself.
            patient = f"{broker_url}?socket_timeout=60&socket_connect_timeout=60"
            self.environment.setdefault("GIFSTER_LIMITS__URL", patient)
        (folder / "tmp").mkdir(exist_ok=True)
        (folder / "settings.toml").touch()  # without one, `gifster migrate` makes no database
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=60)

    @property
    def var(self) -> Path:
        return self.folder / "var"

    def start(self, *command: str) -> Started:
        """Start a command of the virtual environment; its output goes to `<command>.log`."""
        name = "-".join(command[:2]).replace("/", "_")
        process = self.launch(command, self.folder / f"{name}.log")
        self.processes.append(process)
        return process

    def launch(self, command: Sequence[str], log: Path, **variables: str) -> Started:
        """The same for a caller that chooses where the output goes, and ends the process. With
        variables of its own in its environment it starts Python anew."""
        with log.open("ab") as output:
            return self._started(command, output.fileno(), output.fileno(), variables)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the virtual environment to its end."""
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            process = self._started(command, out.fileno(), err.fileno())
            try:
                status = process.wait(120)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(command, status, out.read(), err.read())

    def _started(
        self, command: Sequence[str], out: int, err: int, variables: Mapping[str, str] = {}
    ) -> Started:
        words = [str(BIN / command[0]), *command[1:]]
        same_path = self.environment.get("PYTHONPATH") == os.environ.get("PYTHONPATH")
        if same_path and not self.fresh and not variables:
            return fork_server().start(words, self.folder, self.environment, out, err)
        return subprocess.Popen(
            words,
            cwd=self.folder,
            env={**self.environment, **variables},
            stdout=out,
            stderr=err,
            start_new_session=True,
        )

    def migrate(self, made: Path | None = None) -> None:
        """Bring the database up to date.

        Parameters:
          made: an up-to-date SQLite database. If the stack uses SQLite, it gets a copy, and no
            process has to run.
        """
        url = self.environment.get("GIFSTER_DATABASE__URL", "sqlite:///var/gifster.db")
        if made is None or not url.startswith("sqlite:///"):
            result = self.run("gifster", "migrate")
            assert result.returncode == 0, result.stderr
            return
        path = self.folder / url.removeprefix("sqlite:///")
        path.parent.mkdir(mode=0o700, exist_ok=True)
        shutil.copy2(made, path)

    def start_web(self) -> Started:
        process = self.start("gifster", "web")
        eventually(self.answers)
        return process

    def start_worker(self, *options: str) -> Started:
        return self.start("dramatiq", "gifster.actors", "--queues", "default", "carrierwave",
                          "--processes", "1", "--threads", "2", *options)  # fmt: skip

    def answers(self) -> bool:
        try:
            return self.client.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def upload(self, content: bytes, filename: str = "a.gif", **fields: str) -> httpx.Response:
        return self.client.post(
            "/api/gifs", files={"image": (filename, content, "image/gif")}, data=fields
        )

    def admin(self, email: str = "admin@example.org") -> dict[str, str]:
        """The headers of a new admin."""
        body = {"email": email, "password": "correct horse"}
        token = self.client.post("/api/users", json=body).json()["token"]
        assert self.run("gifster", "admins", "add", email).returncode == 0
        return {"Authorization": f"Bearer {token}"}

    def gif(self, gif_id: str) -> dict[str, Any]:
        return self.client.get(f"/api/gifs/{gif_id}").json()

    def finished(self, gif_id: str, *, within: float = 60.0) -> dict[str, Any]:
        """The GIF, once it is ready or failed."""

        def gif() -> dict[str, Any] | None:
            now = self.gif(gif_id)
            return now if now["state"] in ("ready", "failed") else None

        return eventually(gif, within=within) or {}

    @contextmanager
    def held_while_processing(self, gif_id: str) -> Iterator[None]:
        """A worker of its own that stands still in the middle of a GIF, until the block ends."""
        worker = self.start_worker()
        eventually(lambda: self.gif(gif_id)["state"] == "processing")
        signal_group(worker, signal.SIGSTOP)
        assert self.gif(gif_id)["state"] == "processing"
        yield
        signal_group(worker, signal.SIGCONT)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def stop(self) -> None:
        """End it all at once. What an orderly stop does has tests of its own."""
        self.client.close()
        for process in self.processes:
            signal_group(process, signal.SIGKILL)
            process.wait()
