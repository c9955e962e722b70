"""All benchmarks, in the order of the page."""

from collections.abc import Callable
from typing import Any, NamedTuple

from bench import (
    accepting,
    backlogs,
    distribution,
    gifski,
    image_report,
    images,
    library,
    load,
    nodes,
    outbox,
    queue_recovery,
    queue_report,
    queues,
    relay,
    retention,
    storage,
    sweep,
    whole,
)
from bench.page import Section
from bench.rounds import Options


class Benchmark(NamedTuple):
    """A benchmark.

    Parameters:
      measure: measures a round, and returns what JSON can hold.
      section: makes the section of the page from what the rounds have found.
      minutes: how long a round takes.
      rounds: how many the page needs.
    """

    measure: Callable[[Options], Any]
    section: Callable[[list[Any]], Section]
    minutes: float
    rounds: int = 3


#: By the names of the page's sections.
ALL = {
    "install": Benchmark(distribution.measure, distribution.section, 2, 1),
    "queues": Benchmark(queues.shipped, queue_report.section, 2.5),
    "queues_parts": Benchmark(queues.parts, queue_report.section, 2.5),
    "outbox": Benchmark(outbox.measure, outbox.section, 0.3),
    "recovery": Benchmark(queue_recovery.measure, queue_recovery.section, 4),
    "relay": Benchmark(relay.measure, relay.section, 1),
    "backlogs": Benchmark(backlogs.measure, backlogs.section, 2, 1),
    "images": Benchmark(images.measure, image_report.section, 2),
    "rewriting": Benchmark(images.rewriting, image_report.rewriting, 0.3),
    "gifski": Benchmark(gifski.measure, gifski.section, 20, 1),
    "growth": Benchmark(images.growth, image_report.growth, 0.5),
    "accepting": Benchmark(accepting.sqlite, accepting.section, 0.7),
    "accepting_two": Benchmark(accepting.two_processes, accepting.section, 0.7),
    "accepting_postgresql": Benchmark(accepting.postgresql, accepting.section, 0.7),
    "memory": Benchmark(accepting.memory, accepting.section_memory, 1),
    "reading": Benchmark(accepting.reading, accepting.section_reading, 0.5),
    "durability": Benchmark(load.durability, load.section_durability, 0.5),
    "load": Benchmark(load.load, load.section_load, 2),
    "whole": Benchmark(whole.alone, whole.section_alone, 2),
    "carrierwave": Benchmark(whole.beside, whole.section_beside, 2),
    "nodes": Benchmark(nodes.measure, nodes.section, 5, 1),
    "sweep": Benchmark(sweep.measure, sweep.section, 1),
    "retention": Benchmark(retention.measure, retention.section, 8, 1),
    "library": Benchmark(library.measure, library.section, 5, 1),
    "storage": Benchmark(storage.measure, storage.section, 2, 1),
}

#: Names for several of them.
GROUPS = {
    "way_in": [
        "reading", "accepting", "accepting_two", "accepting_postgresql", "memory", "durability",
        "load", "queues", "queues_parts", "outbox", "recovery", "whole", "carrierwave",
    ],
}  # fmt: skip
