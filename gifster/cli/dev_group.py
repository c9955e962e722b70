"""The process group of `gifster dev`: coloured lines, and restarts when code changes."""

import os
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import watchfiles

import gifster
from gifster.app.logs import escaped
from gifster.jobs.printer import SUPERVISOR, write_line
from gifster.jobs.process_group import ProcessGroup

COLORS = {SUPERVISOR: 35, "valkey": 33, "web": 36, "worker": 32, "scheduler": 34}


class DevGroup(ProcessGroup):
    """The children of `gifster dev`."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        super().__init__(environment, say)
        self._all_started = threading.Event()

    def watch(self) -> None:
        """Restart web, worker and scheduler when their code changes: the package, and the Python
        files and the settings in this folder. What changes before all of them run counts, too."""
        for folder, below in ((Path(gifster.__file__).parent, True), (Path.cwd(), False)):
            threading.Thread(target=self._watch, args=(folder, below), daemon=True).start()

    def _watch(self, folder: Path, below: bool) -> None:
        try:
            for changes in watchfiles.watch(
                folder,
                watch_filter=_is_code,
                recursive=below,
                stop_event=self.stopping,
                raise_interrupt=False,
            ):
                self._all_started.wait()
                names = sorted({os.path.relpath(path) for _, path in changes})
                children = [child for child in self.children if child.name != "valkey"]
                self.note(f"changed: {', '.join(names[:3])}; restarting web, worker, scheduler")
                if any(Path(name).parent.name == "migrations" for name in names):
                    self.note("a migration has changed: once it is finished, run gifster migrate")
                for child in children:
                    child.restart()
        except (OSError, RuntimeError) as error:  # such as: too many are watched
            self.note(f"{folder} cannot be watched ({error}): after a change, restart gifster dev")

    def keep_running(self) -> None:
        """As any group does, and restart what has changed."""
        self._all_started.set()
        super().keep_running()


def _is_code(change: watchfiles.Change, path: str) -> bool:
    # A web process reads templates once, and gives scripts and styles an address of their content.
    return path.endswith((".py", ".html", ".css", ".js", ".svg", f"{os.sep}settings.toml"))


def say(line: str, name: str) -> None:
    """Print a line with the name of its process."""
    prefix = f"{name:<9} |"
    if sys.stdout and sys.stdout.isatty() and "NO_COLOR" not in os.environ:
        prefix = f"\x1b[{COLORS.get(name, 37)}m{prefix}\x1b[0m"
    write_line(f"{prefix} {escaped(line)}")
