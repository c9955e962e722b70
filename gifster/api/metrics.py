"""`/metrics`, for Prometheus: how many GIFs and jobs there are, and what the last sweep found.

All of it comes from the database, so it is the same whichever web process answers.
"""

from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily as Gauge
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from gifster import jobs, library
from gifster.api.context import Context


class Metrics:
    """`GET` them in Prometheus's text format."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self._registry = CollectorRegistry()
        self._registry.register(_Database())

    async def on_get(self, req: Any, resp: Any) -> None:
        resp.data = await self.context.run(generate_latest, self._registry)
        resp.content_type = CONTENT_TYPE_LATEST


class _Database(Collector):
    def collect(self) -> Iterator[Gauge]:
        gifs = Gauge("gifster_gifs", "GIFs, by state.", labels=["state"])
        for state, count in library.count_by_state().items():
            gifs.add_metric([state], count)
        yield gifs
        queues = Gauge("gifster_jobs", "Jobs that are not done.", labels=["queue", "state"])
        oldest = Gauge(
            "gifster_jobs_oldest_seconds", "Age of the oldest waiting.", labels=["queue"]
        )
        for queue in jobs.stats():
            for state in ("waiting", "running", "dead"):
                queues.add_metric([queue.queue, state], getattr(queue, state))
            oldest.add_metric([queue.queue], queue.oldest_s)
        yield queues
        yield oldest
        found = Gauge(
            "gifster_sweep_findings",
            "What the last sweep found; `missing` are files that a row names and that are gone.",
            labels=["kind"],
        )
        when = Gauge("gifster_sweep_timestamp_seconds", "When the last sweep ended.")
        for finding in library.last_findings():
            found.add_metric([finding.kind], finding.count)
            when = Gauge(when.name, when.documentation, value=finding.found_at.timestamp())
        yield found
        yield when
