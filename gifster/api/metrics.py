"""`/metrics`, for Prometheus.

GIFs, jobs, queues, workers and the last sweep's findings come from the database, so that every web
process on every machine gives the same answer. Requests are counted in memory, and by several
processes of one web server in files that they share (`prometheus_client`'s multi-process mode, with
the files of `count_files`). Disks are those of this machine (`gifster.app.disks`).
"""

import functools
import hmac
import os
import time
from collections import Counter as Counts
from collections.abc import Iterator

from falcon.asgi import Request, Response
from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, SummaryMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from gifster import __version__, jobs
from gifster.api.context import Context
from gifster.api.count_files import use_count_files
from gifster.api.forwarded import is_from
from gifster.api.problems import Problem
from gifster.app import disks, library, lists
from gifster.app.settings import COUNTED_IN, Settings
from gifster.jobs import State

METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}

# Several processes have none either.
disable_created_metrics()  # type: ignore[no-untyped-call]
_here = CollectorRegistry()
_requests = Counter(
    "gifster_http_requests", "Requests.", ["method", "route", "status"], registry=_here
)
_seconds = Histogram(
    "gifster_http_request_seconds",
    "From the head of a request to its answer; with the time that its body takes.",
    ["method", "route"],
    registry=_here,
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60),
)

#: The counters of a route, which are looked up with each request. There are few.
_counted = functools.lru_cache(1024)(_requests.labels)
_timed = functools.lru_cache(1024)(_seconds.labels)


def count_together() -> None:
    """Count with the other processes of this web server, if it has several. Call it first."""
    if COUNTED_IN in os.environ:
        use_count_files()


class RequestMetrics:
    """Counts requests, and measures how long their answers take, by route."""

    async def process_request(self, req: Request, resp: Response) -> None:
        req.context.began = time.perf_counter()

    async def process_response(
        self, req: Request, resp: Response, resource: object, succeeded: bool
    ) -> None:
        method = _method(req.method)
        route = req.uri_template or "other"
        _counted(method, route, str(resp.status_code)).inc()
        _timed(method, route).observe(time.perf_counter() - req.context.began)


def count_refused(method: str, status: int) -> None:
    """Count a request that reached no route, because its head was too long."""
    _counted(_method(method), "other", str(status)).inc()


def _method(name: str) -> str:
    return name if name in METHODS else "other"


class Metrics:
    """`GET` them in Prometheus's text format, from an address or with the token of the settings."""

    asks_for_key = True

    def __init__(self, context: Context) -> None:
        self.context = context

    async def on_get(self, req: Request, resp: Response) -> None:
        self._check(req)
        resp.data = await self.context.run(_all, self.context.settings)
        resp.content_type = CONTENT_TYPE_LATEST

    def _check(self, req: Request) -> None:
        """Raise `Problem` unless the client may read them: 401 if there is a token, else 403."""
        web = self.context.settings.web
        scheme, _, sent = (req.get_header("Authorization") or "").partition(" ")
        has_token = scheme.lower() == "bearer" and hmac.compare_digest(
            sent.strip().encode("utf-8", "surrogatepass"), web.metrics_token.encode()
        )
        if web.metrics_token and has_token:
            return
        if is_from(req, web, web.metrics_addresses):
            return
        if web.metrics_token:
            way = "Send the token of web.metrics_token (Authorization: Bearer …)"
            status, headers = 401, {"WWW-Authenticate": "Bearer"}
        else:
            way, status, headers = "Set web.metrics_token", 403, {}
        raise Problem(
            status,
            "metrics_closed",
            f"The metrics are not for this address. {way}, or add the address to "
            "web.metrics_addresses.",
            headers=headers,
        )


def _all(settings: Settings) -> bytes:
    registry = CollectorRegistry()
    registry.register(_Database())
    registry.register(_Machine(settings))
    requests = _here
    if COUNTED_IN in os.environ:
        requests = CollectorRegistry()
        MultiProcessCollector(requests)  # type: ignore[no-untyped-call]
    return generate_latest(registry) + generate_latest(requests)


class _Database(Collector):
    def collect(self) -> Iterator[Metric]:
        yield from _gifs()
        yield from _jobs()
        yield from _workers()
        yield from _recurring()
        yield from _findings()


class _Machine(Collector):
    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def collect(self) -> Iterator[Metric]:
        info = GaugeMetricFamily("gifster_build_info", "1, with the release.", labels=["version"])
        info.add_metric([__version__], 1)
        yield info
        yield GaugeMetricFamily(
            "gifster_database_bytes", "The size of the database.", value=disks.database_bytes()
        )
        free = GaugeMetricFamily(
            "gifster_disk_free_bytes", "Free bytes of a folder's disk.", labels=["folder"]
        )
        size = GaugeMetricFamily(
            "gifster_disk_size_bytes", "Size of a folder's disk.", labels=["folder"]
        )
        for disk in disks.disks(self._settings):
            free.add_metric([disk.name], disk.free_bytes)
            size.add_metric([disk.name], disk.size_bytes)
        yield from (free, size)


def _gifs() -> Iterator[Metric]:
    gifs = GaugeMetricFamily("gifster_gifs", "GIFs, by state.", labels=["state"])
    for state, count in lists.count_by_state().items():
        gifs.add_metric([state], count)
    yield gifs


def _jobs() -> Iterator[Metric]:
    queues = GaugeMetricFamily("gifster_jobs", "Jobs that are not done.", labels=["queue", "state"])
    oldest = GaugeMetricFamily(
        "gifster_jobs_oldest_seconds",
        "How long the oldest waiting job has waited, by queue.",
        labels=["queue"],
    )
    for queue in jobs.stats():
        for state in State:
            queues.add_metric([queue.queue, state.value], getattr(queue, state.value))
        oldest.add_metric([queue.queue], queue.oldest_s)
    yield queues
    yield oldest
    paused = GaugeMetricFamily(
        "gifster_queue_paused", "1 for a queue that is paused.", labels=["queue"]
    )
    for name in jobs.paused_queues():
        paused.add_metric([name], 1)
    yield paused
    of = ["queue", "actor"]
    done = CounterMetricFamily("gifster_jobs_done", "Jobs that were done.", labels=of)
    failed = CounterMetricFamily("gifster_jobs_failed", "Attempts at jobs that failed.", labels=of)
    took = SummaryMetricFamily("gifster_job_seconds", "How long attempts at jobs took.", labels=of)
    for total in jobs.totals():
        labels = [total.queue, total.actor]
        done.add_metric(labels, total.done)
        failed.add_metric(labels, total.failed)
        took.add_metric(labels, total.done + total.failed, total.ms / 1000)
    yield from (done, failed, took)


def _workers() -> Iterator[Metric]:
    found = jobs.workers()
    states = Counts(
        "gone" if not worker.alive else "quiet" if worker.quiet else "working" for worker in found
    )
    workers = GaugeMetricFamily("gifster_workers", "Worker processes.", labels=["state"])
    for state in ("working", "quiet", "gone"):
        workers.add_metric([state], states[state])
    yield workers
    threads = GaugeMetricFamily(
        "gifster_worker_threads", "Threads of a worker process.", labels=["worker"]
    )
    memory = GaugeMetricFamily(
        "gifster_worker_memory_bytes", "Memory of a worker process.", labels=["worker"]
    )
    for worker in found:
        if worker.alive:
            threads.add_metric([worker.id], worker.threads)
            memory.add_metric([worker.id], worker.memory_bytes)
    yield from (threads, memory)


def _recurring() -> Iterator[Metric]:
    last = GaugeMetricFamily(
        "gifster_recurring_timestamp_seconds",
        "When a recurring job was due last.",
        labels=["name"],
    )
    for job in jobs.recurring_jobs():
        if job.last_at is not None:
            last.add_metric([job.name], job.last_at)
    yield last


def _findings() -> Iterator[Metric]:
    found = GaugeMetricFamily(
        "gifster_sweep_findings",
        "What the last sweep found; `missing` are files that a row names and that are gone, "
        "`damaged` those that are not what was stored, `held_back` those that it did not remove "
        "because they are too many, `left_alone` those that are not known to be Gifster's, "
        "`unread` tables and storages that could not be read.",
        labels=["kind"],
    )
    when = GaugeMetricFamily("gifster_sweep_timestamp_seconds", "When the last sweep ended.")
    for finding in library.last_findings():
        found.add_metric([finding.kind], finding.count)
        when = GaugeMetricFamily(when.name, when.documentation, value=finding.found_at.timestamp())
    yield found
    yield when
