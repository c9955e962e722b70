"""`gifster dev`: everything from one terminal, and nothing left running after it."""

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from gifster.app import settings
from tests import images
from tests.machine import ALL_EXAMPLES, BIN, alive, eventually, examples, files_below, free_port

ROOT = Path(__file__).parent.parent.parent


class Dev:
    """A running `gifster dev` in a folder of its own, which has a space in its name."""

    def __init__(self, folder: Path, port: int, *options: str, **variables: str) -> None:
        self.folder, self.port = folder, port
        self.log_path = folder / "dev.log"
        self.process = subprocess.Popen(
            [str(BIN / "gifster"), "dev", "--port", str(port), *options],
            cwd=folder,
            env={k: v for k, v in os.environ.items()
                 if not k.startswith((settings.PREFIX, "MAKE"))} | variables,
            stdin=subprocess.DEVNULL,
            stdout=self.log_path.open("ab"),
            stderr=subprocess.STDOUT,
        )  # fmt: skip

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def is_ready(self) -> bool:
        assert self.process.poll() is None, self.log
        return "Gifster is ready" in self.log

    def upload(self) -> str:
        answer = httpx.post(
            f"http://127.0.0.1:{self.port}/api/gifs", files={"image": ("a.gif", images.gif())}
        )
        assert answer.status_code == 202, answer.text
        return answer.json()["id"]

    def gif(self, gif_id: str) -> dict:
        return httpx.get(f"http://127.0.0.1:{self.port}/api/gifs/{gif_id}").json()

    def stores(self, gif_id: str) -> None:
        eventually(lambda: self.gif(gif_id).get("state") == "ready")

    def processes(self) -> set[int]:
        """All processes below it, found by their working folder."""
        found = set()
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                inside = Path(os.readlink(entry / "cwd")).is_relative_to(self.folder)
            except OSError:
                continue
            if inside and alive(int(entry.name)):
                found.add(int(entry.name))
        return found - {self.process.pid}

    def pids_of(self, *words: str) -> list[int]:
        """The processes whose command line has all these words, in the order of their start."""
        found = []
        for pid in sorted(self.processes()):
            with suppress(FileNotFoundError):
                line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
                if all(word in line for word in words):
                    found.append(pid)
        return found

    def pid_of(self, *words: str) -> int:
        """The process of them that started first."""
        [pid, *_] = self.pids_of(*words)
        return pid


@pytest.fixture
def start_dev(tmp_path: Path) -> Iterator[Callable[..., Dev]]:
    if not Path("/proc/self/cwd").exists():
        pytest.skip("needs /proc to see which processes are left")
    folder = tmp_path / "my gifs"
    folder.mkdir()
    shutil.copy(ROOT / "settings.toml", folder)
    started = []

    def start(port: int | None = None, *options: str, **variables: str) -> Dev:
        started.append(Dev(folder, port or free_port(), *options, **variables))
        return started[-1]

    yield start
    for dev in started:
        dev.process.kill()
        dev.process.wait()
    for dev in started:
        # A process has ten seconds to stop in order, and its children ten more after that.
        eventually(lambda dev=dev: not dev.processes())


def stops(dev: Dev, number: int) -> None:
    """Stop it by a signal; all its processes end in order."""
    dev.process.send_signal(number)
    assert dev.process.wait(60) == 0
    assert dev.processes() == set()
    assert dev.log.rstrip().endswith("stopped")
    assert "Traceback" not in dev.log


@pytest.mark.long
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM][: examples(1, of=2)])
def test_it_runs_everything_and_its_state_survives(
    start_dev: Callable[..., Dev], stop: signal.Signals
):
    # Given a fresh folder
    first = start_dev()
    eventually(first.is_ready)
    assert f"http://127.0.0.1:{first.port}" in first.log

    # I expect an anonymous upload to be stored
    gif_id = first.upload()
    first.stores(gif_id)

    # And a second one in the same folder to be refused
    refused = start_dev()
    assert refused.process.wait(60) == 1
    assert f"running in this folder already (process {first.process.pid})" in refused.log
    # Commands read there where it answers
    lock = first.folder / "var" / "dev.lock"
    assert lock.read_text() == f"{first.process.pid} {first.port}"

    starts_again_what_dies(first)

    # And Ctrl-C to stop all processes in order
    stops(first, stop)

    # And the upload to be there after a restart
    second = start_dev(first.port, "--watch")
    eventually(lambda: second.log.count("Gifster is ready") == 2)
    assert second.gif(gif_id)["state"] == "ready"
    assert files_below(second.folder / "var" / "store")

    restarts_what_changes(second)

    # And no process to be left when the supervisor is killed
    assert second.processes()
    second.process.kill()
    second.process.wait()
    eventually(lambda: not second.processes())


def starts_again_what_dies(dev: Dev) -> None:
    """I expect processes that are killed to be started again."""
    processes = [
        ("valkey", ("valkey-server",)),
        ("web", ("gifster web",)),
        ("worker", ("gifster worker",)),
        ("scheduler", ("gifster scheduler",)),
    ]
    for name, words in processes[: examples(1, of=4)]:
        os.kill(dev.pid_of(*words), signal.SIGKILL)
        again = f"starting {name} again"
        eventually(lambda again=again: again in dev.log)
    eventually(lambda: is_well(dev))
    dev.stores(dev.upload())
    assert dev.process.poll() is None


def restarts_what_changes(dev: Dev) -> None:
    before = {name: dev.pid_of(f"gifster {name}") for name in ("web", "worker", "scheduler")}
    valkey = dev.pid_of("valkey-server")

    # When the settings become wrong, I expect that to be reported (in CI: three processes begin)
    settings_file = dev.folder / "settings.toml"
    text = settings_file.read_text()
    if ALL_EXAMPLES:
        settings_file.write_text(text + "\n[nonsense]\n")
        eventually(lambda: "changed: settings.toml" in dev.log)
        eventually(lambda: "nonsense: no such key" in dev.log)

    # When they change, I expect web, worker and scheduler to use them, and Valkey to run on
    settings_file.write_text(text.replace("max_bytes = 52_428_800", "max_bytes = 10"))
    eventually(lambda: upload_status(dev) == 413)
    for name, pid in before.items():
        eventually(lambda name=name, pid=pid: dev.pids_of(f"gifster {name}")[:1] not in ([], [pid]))
    assert dev.pid_of("valkey-server") == valkey


def upload_status(dev: Dev) -> int:
    try:
        files = {"image": ("a.gif", images.gif())}
        return httpx.post(f"http://127.0.0.1:{dev.port}/api/gifs", files=files).status_code
    except httpx.TransportError:
        return 0


def test_a_taken_port_is_a_clear_error(start_dev: Callable[..., Dev]):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        dev = start_dev(taken.getsockname()[1])

        assert dev.process.wait(60) == 1
        assert f"port {dev.port} cannot be used" in dev.log
        assert f"make dev PORT={dev.port + 1}" in dev.log
        assert "Traceback" not in dev.log


def test_a_valkey_that_has_lost_its_process_is_stopped_with_the_others(
    start_dev: Callable[..., Dev],
):
    dev = start_dev()
    eventually(lambda: is_well(dev))

    # When the process that watches Valkey is killed, and everything is stopped at once
    os.kill(dev.pid_of("gifster.app.valkey"), signal.SIGKILL)
    dev.process.terminate()

    assert dev.process.wait(60) == 0
    eventually(lambda: not dev.processes())


def test_a_child_that_cannot_start_ends_it(start_dev: Callable[..., Dev]):
    dev = start_dev(GIFSTER_DATABASE__URL="postgresql://nobody@127.0.0.1:1/none")

    assert dev.process.wait(60) == 1
    assert "database" in dev.log
    assert "Traceback" not in dev.log
    assert dev.processes() == set()


def is_well(dev: Dev) -> bool:
    try:
        answer = httpx.get(f"http://127.0.0.1:{dev.port}/readyz")
        return answer.json()["checks"] == {"database": "ok", "broker": "ok"}
    except (httpx.TransportError, ValueError):
        return False
