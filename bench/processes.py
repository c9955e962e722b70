"""What the processes of a run cost: CPU seconds and memory by role, with all that they start."""

import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

import psutil

#: How often the memory is looked at (seconds).
EVERY_S = 0.25
#: The role of the processes that make pictures, whoever started them.
PICTURES = "pictures"


class Processes:
    """The processes of a run, by role, and what they cost from `begin()` to `end()`.

    CPU counts children that have ended. Memory is the proportional set size (PSS), so pages that
    forked processes share count once; it is looked at four times a second.

    Parameters:
      roots: the processes by their roles.
      makes_pictures: whether a process makes pictures; its children do so, too.
    """

    def __init__(
        self, roots: dict[str, int], makes_pictures: Callable[[psutil.Process], bool]
    ) -> None:
        self._roots = {role: psutil.Process(pid) for role, pid in roots.items()}
        self._makes_pictures = makes_pictures
        self._ended = threading.Event()
        self._watching = threading.Thread(target=self._watch)
        #: The highest sum of each role (bytes), and of all roles together as `all`.
        self.peak: dict[str, int] = {}
        #: CPU seconds of each role.
        self.cpu: dict[str, float] = {}

    def begin(self) -> None:
        self._before = self._cpu()
        self._watching.start()

    def end(self) -> None:
        self.cpu = {role: used - self._before.get(role, 0) for role, used in self._cpu().items()}
        self._ended.set()
        self._watching.join()

    def _watch(self) -> None:
        while not self._ended.wait(EVERY_S):
            now = Counter[str]()
            for role, process in self._each():
                with suppress(psutil.Error):
                    now[role] += process.memory_full_info().pss
            now["all"] = now.total()
            for role, size in now.items():
                self.peak[role] = max(self.peak.get(role, 0), size)

    def _cpu(self) -> Counter[str]:
        used = Counter[str]()
        for role, process in self._each():
            with suppress(psutil.Error):
                times = process.cpu_times()
                used[role] += times.user + times.system
                # A worker's own children only make pictures.
                ended = PICTURES if role == "worker" else role
                used[ended] += times.children_user + times.children_system
        return used

    def _each(self) -> list[tuple[str, psutil.Process]]:
        found = []
        for role, root in self._roots.items():
            found.append((role, root))
            with suppress(psutil.Error):
                for process in root.children(recursive=True):
                    with suppress(psutil.Error):
                        pictures = self._makes_pictures(process)
                        found.append((PICTURES if pictures else role, process))
        return found
