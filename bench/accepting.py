"""How many uploads a second a web process accepts, beside the least that a server must do
(`bench.floor`), with the sender on the same machine; what they take of its memory; and what lists
cost.

Each upload is another file. The sender waits for each answer before it sends the next file over a
connection.
"""

import json
import statistics
from contextlib import ExitStack
from functools import partial

from bench import figures
from bench.page import Section, Table
from bench.plot import Chart, Measure
from bench.rounds import Options
from bench.sender import SIZES, Sender, upload_of
from bench.servers import GIFSTER, LEAST, LEAST_ASYNCIO, Server, both, peak
from tests import images
from tests.machine import eventually, signal_group
from tests.stack import Stack

CONNECTIONS = (1, 8, 40)
#: How long one size is sent over one number of connections in a round (seconds).
SLICE_S, QUICK_SLICE_S = 1.0, 0.8
#: Uploads at the same time, and their size (MB).
CROWDS = [(160, 1.1), (400, 5)]
READ = ("/api/gifs?limit=30", "/")
#: The figures of a slice.
RATE, P50, P95, CPU = "per second", "p50 ms", "p95 ms", "CPU ms"

Found = dict[str, dict[str, float]]


def _measure(database: str, workers: int, options: Options) -> Found:
    """By server, the figures of each slice: a size over some connections."""
    sizes = list(SIZES)[: 2 if options.quick else None]
    seconds = QUICK_SLICE_S if options.quick else SLICE_S
    with both(database, workers, asyncio=database == "sqlite" and workers == 1) as servers:
        found: Found = {name: {} for name in servers}
        for server in servers.values():
            for size in sizes:
                _slice(server, size, 8, 0.3)  # warm
        for size in sizes:
            for connections in CONNECTIONS:
                for name in options.chosen(list(servers)):
                    seen = _slice(servers[name], size, connections, seconds)
                    found[name] |= {
                        _figure(size, connections, what): value for what, value in seen.items()
                    }
    return found


sqlite = partial(_measure, "sqlite", 1)
postgresql = partial(_measure, "postgresql", 1)
two_processes = partial(_measure, "sqlite", 2)


def _figure(size: float, connections: int, what: str) -> str:
    return f"{size:g} MB over {connections}: {what}"


def _slice(server: Server, size: float, connections: int, seconds: float) -> dict[str, float]:
    """Send uploads for some seconds."""
    sender = Sender(server.port, upload_of(size), connections)
    before = server.cpu_s()
    times, took = sender.run(seconds)
    spent = server.cpu_s() - before
    ordered = sorted(times)
    return {
        RATE: len(times) / took,
        P50: statistics.median(times) * 1000,
        P95: ordered[int(len(ordered) * 0.95)] * 1000,
        CPU: spent * 1000 / len(times),
    }


def section(rounds: list[Found]) -> Section:
    """Rates and their ratio, and what an upload costs."""
    on_asyncio = all(LEAST_ASYNCIO in found for found in rounds)
    table = Table(
        "MB", "connections", "Gifster /s", "the least /s", "ratio", P50, P95, CPU,
        "CPU of the least, ms", *(["on asyncio /s", "ratio to that"] if on_asyncio else []),
    )  # fmt: skip
    sizes = [size for size in SIZES if _figure(size, 1, RATE) in rounds[0][GIFSTER]]
    for size in sizes:
        for connections in CONNECTIONS:
            name = partial(_figure, size, connections)
            ours, least = (figures.samples(rounds, side, name(RATE)) for side in (GIFSTER, LEAST))
            ratios = figures.ratios(rounds, GIFSTER, name(RATE), LEAST)
            table.add_row(
                f"{size:g}", str(connections), figures.spread(ours, ".0f"),
                figures.spread(least, ".0f"), figures.spread(ratios, ".2f"),
                figures.median(figures.samples(rounds, GIFSTER, name(P50)), ".1f"),
                figures.median(figures.samples(rounds, GIFSTER, name(P95)), ".1f"),
                figures.spread(figures.samples(rounds, GIFSTER, name(CPU)), ".2f"),
                figures.median(figures.samples(rounds, LEAST, name(CPU)), ".2f"),
                *(_beside_asyncio(rounds, name(RATE)) if on_asyncio else []),
            )  # fmt: skip
    return Section(str(table), {"rate": _chart(rounds, sizes)})


def _beside_asyncio(rounds: list[Found], rate: str) -> list[str]:
    """What the least does on asyncio's own event loop, and our ratio to that."""
    ratios = figures.ratios(rounds, GIFSTER, rate, LEAST_ASYNCIO)
    least = figures.samples(rounds, LEAST_ASYNCIO, rate)
    return [figures.spread(least, ".0f"), figures.spread(ratios, ".2f")]


def _chart(rounds: list[Found], sizes: list[float]) -> Chart:
    names = {
        f"{side}, {count} connection{'s' * (count > 1)}": (side, count)
        for count in CONNECTIONS
        for side in (GIFSTER, LEAST)
    }
    return Chart("Uploads accepted per second", list(names), [
        Measure(
            f"{size:g} MB, uploads per second",
            {name: figures.samples(rounds, side, _figure(size, count, RATE))
             for name, (side, count) in names.items()},
            ".0f",
        )
        for size in sizes
    ])  # fmt: skip


def memory(options: Options) -> Found:
    """By server, how much it grows while many send one upload each at the same time."""
    found: Found = {}
    for name in options.chosen([GIFSTER, LEAST]):
        found[name] = {}
        for many, size in CROWDS[: 1 if options.quick else None]:
            with both() as servers, ExitStack() as watched:
                server = servers[name]
                _slice(server, 0.1, 8, 0.3)  # warm
                peaks = [watched.enter_context(peak(pid)) for pid in server.pids]
                _, took = Sender(server.port, upload_of(size), many).run(0)
                grown = sum(growth() for growth in peaks)
            found[name] |= {f"{many} of {size:g} MB": grown / 1e6, f"{many} took": took}
    return found


def section_memory(rounds: list[Found]) -> Section:
    """How much the web processes grow."""
    table = Table("at once", "Gifster, MB", "the least, MB", "ratio", "Gifster, s", "the least, s")
    for many, size in CROWDS:
        what = f"{many} of {size:g} MB"
        grown, took = (
            [figures.spread(figures.samples(rounds, side, name), form) for side in (GIFSTER, LEAST)]
            for name, form in ((what, ".0f"), (f"{many} took", ".1f"))
        )
        ratio = figures.spread(figures.ratios(rounds, GIFSTER, what, LEAST), ".1f")
        if any(grown):
            table.add_row(what, *grown, ratio, *took)
    return Section(str(table))


def reading(options: Options) -> Found:
    """What lists cost: 30 stored GIFs as JSON and as a page, over one connection."""
    found: Found = {}
    with both() as servers:
        server = servers[GIFSTER]
        assert server.stack
        _store(server.stack, 40)
        for path in READ:
            request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n".encode()
            Sender(server.port, request, 1).run(0.5)
            before = server.cpu_s()
            times, _ = Sender(server.port, request, 1).run(1 if options.quick else 3)
            spent = (server.cpu_s() - before) * 1000 / len(times)
            found[f"`GET {path}`"] = {P50: statistics.median(times) * 1000, CPU: spent}
    return found


def section_reading(rounds: list[Found]) -> Section:
    """What lists cost."""
    table = Table("request", P50, CPU)
    for request in figures.sides(rounds):
        table.add_row(
            request, *(figures.spread(figures.samples(rounds, request, name), ".2f")
                       for name in (P50, CPU))
        )  # fmt: skip
    return Section(str(table))


def _store(stack: Stack, count: int) -> None:
    """Have some small GIFs stored, with their versions."""
    small = images.gif((120, 90))
    for number in range(count):
        answer = stack.upload(small + str(number).encode(), title=f"GIF {number}", tags="cat, dog")
        assert answer.status_code == 202, answer.text
    worker = stack.start_worker()
    scheduler = stack.start("gifster", "scheduler")
    eventually(lambda: _states(stack) == {"ready"}, within=60)
    for process in (worker, scheduler):
        signal_group(process, 9)
        process.wait()


def _states(stack: Stack) -> set[str]:
    listed = json.loads(stack.client.get("/api/gifs?limit=30").content)
    return {gif["state"] for gif in listed["items"]}
