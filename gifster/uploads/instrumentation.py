"""Events: what the framework does with files, and how long each step takes.

    @instrumentation.subscribe
    def measure(event: Event) -> None:
        seconds.labels(event.name).observe(event.duration_s)

| name | what was done | facts |
| --- | --- | --- |
| `cache` | an upload came into the cache | `uploader`, `storage`, `key`, `filename`, `bytes`, `content_type` |
| `extract` | its facts were read (`extraction`) | `uploader`, `names`, `sha256` |
| `process` | versions were made | `uploader`, `versions` |
| `derive` | a derivation was made | `derivation`, `storage`, `key` |
| `store` | a file went to a storage | `storage`, `key`, `bytes`, `content_type`; `version` or `derivation` |
| `open` | a storage's file was opened | `storage`, `key` |
| `download` | a storage's file was copied to this machine | `storage`, `key`, `bytes` |
| `delete` | a file was deleted from a storage | `storage`, `key` |

The names and facts follow Shrine's `instrumentation` plugin. A step without a subscriber costs less
than a microsecond.
"""  # noqa: E501

import logging
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from types import MappingProxyType, TracebackType
from typing import Any

logger = logging.getLogger("gifster.uploads")

#: The names of all events.
NAMES = frozenset({"cache", "extract", "process", "derive", "store", "open", "download", "delete"})


@dataclass(frozen=True)
class Event:
    """One step that has ended.

    Attributes:
      name: what was done; the module's docstring lists the names.
      facts: about what; the ids of storages and files, never contents.
      started_ns: when it began (nanoseconds since the epoch), as OpenTelemetry's spans take it.
      duration_s: how long it took (seconds).
      error: the exception that ended it; None if it went well.
    """

    name: str
    facts: dict[str, Any]
    started_ns: int
    duration_s: float
    error: BaseException | None = None


Subscriber = Callable[[Event], object]


class _Subscribers:
    """Who gets which events. Threads read `by_name` without a lock; a change replaces it."""

    def __init__(self) -> None:
        self.by_name: MappingProxyType[str, tuple[Subscriber, ...]] = MappingProxyType({})
        self._lock = threading.Lock()

    def change(self, names: Collection[str], change: Callable[[list[Subscriber]], None]) -> None:
        """Replace the lists of subscribers of these names."""
        with self._lock:
            changed = dict(self.by_name)
            for name in names:
                functions = list(changed.get(name, ()))
                change(functions)
                changed[name] = tuple(functions)
            self.by_name = MappingProxyType({n: f for n, f in changed.items() if f})


_subscribers = _Subscribers()


def subscribe(function: Subscriber, names: Collection[str] = NAMES) -> Callable[[], None]:
    """Have a function called after each step, in the thread that took it.

    An exception of the function is logged, and changes nothing for the upload. A function that has
    subscribed to an event already does not get it twice.

    Parameters:
      function: gets an `Event`.
      names: the events that it gets; by default all.

    Returns:
      a function that ends the subscription.

    Raises:
      ValueError: there is no event of that name.
    """
    if unknown := sorted(set(names) - NAMES):
        raise ValueError(f"no event is called {unknown[0]!r}: use {', '.join(sorted(NAMES))}")

    def add(functions: list[Subscriber]) -> None:
        if function not in functions:
            functions.append(function)

    def remove(functions: list[Subscriber]) -> None:
        if function in functions:
            functions.remove(function)

    _subscribers.change(names, add)
    return lambda: _subscribers.change(names, remove)


def log_events(
    names: Collection[str] = NAMES, to: logging.Logger = logger, level: int = logging.INFO
) -> Callable[[], None]:
    """Log each event as a line: its name, its facts, and its duration in milliseconds.

    Parameters:
      names: the events to log; by default all.
      to: the logger; by default `gifster.uploads`.
      level: the level of the lines. A step that failed is logged as a warning.

    Returns:
      a function that ends the logging.
    """

    def log(event: Event) -> None:
        facts = " ".join(f"{name}={_word(value)}" for name, value in event.facts.items())
        ms = f"{event.duration_s * 1000:.1f}"
        if event.error is None:
            to.log(level, "%s %s ms=%s", event.name, facts, ms)
        else:
            to.warning("%s %s ms=%s error=%r", event.name, facts, ms, str(event.error))

    return subscribe(log, names)


class instrument:
    """One step, as a `with` block, or from `begin()` to `end()`. Subscribers get an event at its
    end.

    Parameters:
      name: the event's name.
      facts: its facts; the block may add to the dict that it gets.
    """

    __slots__ = ("_clock", "_running", "_started_ns", "facts", "name")

    def __init__(self, name: str, **facts: Any) -> None:
        self.name, self.facts = name, facts
        self._running = False

    def begin(self) -> None:
        """Begin the step, if anybody listens."""
        if self.name in _subscribers.by_name:
            self._started_ns, self._clock = time.time_ns(), time.perf_counter()
            self._running = True

    def end(self, error: BaseException | None = None) -> None:
        """Tell the subscribers, unless the step has ended before."""
        if self._running:
            self._running = False
            duration_s = time.perf_counter() - self._clock
            _tell(Event(self.name, self.facts, self._started_ns, duration_s, error))

    def __enter__(self) -> dict[str, Any]:
        self.begin()
        return self.facts

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end(error)


def _tell(event: Event) -> None:
    """Give an event to its subscribers."""
    for function in _subscribers.by_name.get(event.name, ()):
        try:
            function(event)
        except Exception:
            logger.exception("a subscriber failed event=%s subscriber=%r", event.name, function)


def _word(value: object) -> str:
    text = value.__name__ if isinstance(value, type) else str(value)
    return repr(text) if not text or set(text) & set(" \"'=\n") else text
