"""The scenarios on several nodes: nodes that are cut off from the network, a rolling restart, and
what must hold over all nodes. Each is a row of the table; they share one cluster."""

import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from chaos import together
from chaos.cluster import ROLES, Cluster, cluster, names
from chaos.services import POSTGRESQL_PORT, S3_PORT
from chaos.stream import Promises, Stream
from chaos.verdict import Verdict, events_in, judge

#: How long a node is cut off (seconds): longer than a lease, and than any timeout.
CUT_S = 16.0
#: Within this time of a cut, a worker's jobs must be in other hands; and an upload must wait less
#: than this for a broker that is cut off (seconds). A busy machine takes longer.
IN_OTHER_HANDS_S, NO_WAIT_S = 15.0, 3.0
PER_S = 4.0

Trouble = Callable[[Cluster, random.Random], None]


def valkey(folder: Path, uploads: int, seed: int, part: str = "") -> Iterator[Verdict]:
    """3 web servers, 3 workers, 2 schedulers; PostgreSQL, Valkey, S3.

    Parameters:
      part: only the rows whose name contains this text.
    """
    yield from on_nodes(folder, "valkey", uploads, seed, part)


def rabbitmq(folder: Path, uploads: int, seed: int, part: str = "") -> Iterator[Verdict]:
    """The same with RabbitMQ."""
    yield from on_nodes(folder, "rabbitmq", uploads, seed, part)


def on_nodes(
    folder: Path, broker: str, uploads: int, seed: int, part: str = ""
) -> Iterator[Verdict]:
    """The rows, one after the other, on one cluster."""
    rows = {name: trouble for name, trouble in ROWS.items() if part in name}
    chance = random.Random(seed)
    with cluster(folder, broker, **together.RATES) as site:
        for name, trouble in rows.items():
            yield _row(f"{broker}, {name}", site, uploads // len(rows), chance, trouble)
        if part in TOGETHER:
            yield _held_together(f"{broker}, {TOGETHER}", site)


def _row(
    name: str, site: Cluster, uploads: int, chance: random.Random, trouble: Trouble
) -> Verdict:
    """One row: a stream of uploads through the proxy while `trouble` runs."""
    started, blows, cuts = time.monotonic(), site.blows, len(site.cuts)
    stream = Stream(site, uploads, chance.randrange(1 << 30), PER_S)
    with ThreadPoolExecutor(1) as client:
        sent = client.submit(stream.run)
        try:
            trouble(site, chance)
        finally:
            stream.enough.set()
        promises: Promises = sent.result()
    verdict = judge(name, site, promises, started)
    recovery_s = _longest_recovery(site, site.cuts[cuts:])
    notes = [*verdict.notes]
    if recovery_s is not None and recovery_s > IN_OTHER_HANDS_S:
        notes.append(f"jobs were in other hands after {recovery_s:.1f} s")
    if trouble is broker_cut_off_from_web and verdict.slowest_s >= NO_WAIT_S:
        notes.append(f"an upload waited for {verdict.slowest_s:.1f} s")
    # A restart that was announced is no excuse for a lost request.
    lost = verdict.unanswered if trouble is restarted else 0
    return replace(
        verdict,
        blows=site.blows - blows,
        wrong=verdict.wrong + lost,
        recovery_s=recovery_s,
        notes=notes,
    )


# What happens to the nodes.


def worker_cut_off(site: Cluster, chance: random.Random) -> None:
    """Cut a worker off from everything while it has jobs; they must be in other hands soon."""
    name = chance.choice(_of("worker"))
    _wait_for_work(site, name)
    with site.cut_off(name):
        time.sleep(CUT_S)
    time.sleep(2)


def workers_cut_off_in_part(site: Cluster, chance: random.Random) -> None:
    """Cut one worker off from the database, another from the broker, a third from the storage, one
    after the other."""
    order = [(POSTGRESQL_PORT,), (site.services.broker_port,), (S3_PORT,)]
    for name, ports in zip(_of("worker"), order, strict=True):
        with site.cut_off(name, *ports):
            time.sleep(CUT_S / 2)
        time.sleep(1)


def web_cut_off(site: Cluster, chance: random.Random) -> None:
    """Cut off a web server; the proxy must use the others."""
    with site.cut_off(chance.choice(_of("web"))):
        time.sleep(CUT_S)
    time.sleep(2)


def broker_cut_off_from_web(site: Cluster, chance: random.Random) -> None:
    """Cut all web servers off from the broker; nobody may wait for it."""
    for name in _of("web"):
        site.network.cut(name, site.services.broker_port)
    site.blows += 1
    try:
        time.sleep(CUT_S)
    finally:
        site.network.heal()


def schedulers_cut_off(site: Cluster, chance: random.Random) -> None:
    """Cut off one scheduler and a worker together; the other scheduler must see to the jobs."""
    name = chance.choice(_of("worker"))
    _wait_for_work(site, name)
    with site.cut_off("scheduler-0"), site.cut_off(name):
        time.sleep(CUT_S)
    time.sleep(2)


def restarted(site: Cluster, chance: random.Random) -> None:
    """Restart all nodes one after the other, as for a new release. No request may be lost."""
    with ThreadPoolExecutor(len(ROLES)) as roles:
        done = [roles.submit(lambda of=role: [site.restart(n) for n in _of(of)]) for role in ROLES]
        for each in done:
            each.result()


ROWS: dict[str, Trouble] = {
    "a worker cut off": worker_cut_off,
    "workers cut off from database, broker, S3": workers_cut_off_in_part,
    "a web server cut off": web_cut_off,
    "the broker cut off from all web servers": broker_cut_off_from_web,
    "a worker and a scheduler cut off": schedulers_cut_off,
    "all restarted, one after the other": restarted,
}


TOGETHER = "events, pauses, rates and quotas over all nodes"


def _held_together(name: str, site: Cluster) -> Verdict:
    """What must hold over all nodes, as a row: what does not is wrong."""
    started = time.monotonic()
    wrong = together.wrong(site)
    return Verdict.of_checks(name, len(together.CHECKS), wrong, time.monotonic() - started)


def _of(role: str) -> list[str]:
    return [name for name in names() if name.startswith(f"{role}-")]


def _wait_for_work(site: Cluster, name: str) -> None:
    """Wait until a worker has begun a job that it has not ended; but not for long."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and not _in_hand(site, name, time.time()):
        time.sleep(0.02)


def _in_hand(site: Cluster, name: str, at: float) -> set[str]:
    """The jobs that a worker had begun and not ended at a time."""
    jobs: set[str] = set()
    for when, _, what, job in events_in(site.log_of(name)):
        if when <= at:
            (jobs.add if what == "start" else jobs.discard)(job)
    return jobs


def _longest_recovery(site: Cluster, cuts: list[tuple[str, float]]) -> float | None:
    """The longest time from a worker's cut until another one had its job (seconds); None if no
    worker was cut off during a job."""
    found = []
    for name, cut_at in cuts:
        if not name.startswith("worker-"):
            continue
        for job in _in_hand(site, name, cut_at):
            taken = [at for at in _begun(site, job, but=name) if at > cut_at]
            found += [min(taken) - cut_at] if taken else []
    return max(found, default=None)


def _begun(site: Cluster, job: str, but: str) -> list[float]:
    """When other workers began a job. One that finds it leased skips it, and has not begun it."""
    found = []
    for name in _of("worker"):
        if name == but:
            continue
        its = [event for event in events_in(site.log_of(name)) if event[3] == job]
        following = [*(what for _, _, what, _ in its), ""][1:]
        found += [
            at
            for (at, _, what, _), after in zip(its, following, strict=True)
            if what == "start" and after != "skip"
        ]
    return found
