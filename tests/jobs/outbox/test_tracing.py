"""Traces: a job belongs to the trace of the code that enqueued it, whatever happens in between."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import dramatiq
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased

from gifster import jobs
from gifster.jobs import Job, traceparent
from gifster.jobs.tracing import trace_jobs
from tests.jobs.conftest import Outbox
from tests.machine import eventually


class Spans:
    """The spans of this process, which have ended."""

    def __init__(self, provider: TracerProvider, exporter: InMemorySpanExporter) -> None:
        self.provider, self._exporter = provider, exporter
        self.tracer = trace.get_tracer("test", tracer_provider=provider)

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self._exporter.get_finished_spans() if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        (span,) = eventually(lambda: self.named(name))
        return span


@pytest.fixture
def spans(outbox: Outbox) -> Iterator[Spans]:
    provider, exporter = TracerProvider(shutdown_on_exit=False), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    stop = trace_jobs(provider)
    yield Spans(provider, exporter)
    stop()


@pytest.fixture
def worker(spans: Spans) -> Iterator[dramatiq.Worker]:
    """A worker that runs only once a test starts it."""
    made = dramatiq.Worker(dramatiq.get_broker(), worker_threads=2, worker_timeout=50)
    yield made
    made.stop()


def trace_of(span: Any) -> int:
    return span.get_span_context().trace_id


def test_the_trace_of_a_request_goes_on_in_the_worker(spans: Spans, worker: dramatiq.Worker):
    # Given an actor that enqueues another job
    @dramatiq.actor
    def store(number: int) -> None:
        jobs.enqueue("tell", number)

    @dramatiq.actor
    def tell(number: int) -> None:
        pass

    # When it is enqueued within a request's span, and a worker does it
    with spans.tracer.start_as_current_span("POST /api/gifs") as request:
        job = jobs.enqueue("store", 7)
    worker.start()

    # I expect one trace, in which each span has the one before as its parent
    enqueued, ran = spans.one("enqueue store"), spans.one("run store")
    then, told = spans.one("enqueue tell"), spans.one("run tell")
    assert {trace_of(s) for s in (enqueued, ran, then, told)} == {trace_of(request)}
    assert enqueued.parent.span_id == request.get_span_context().span_id
    for child, parent in ((ran, enqueued), (then, ran), (told, then)):
        assert child.parent.span_id == parent.get_span_context().span_id
    assert (enqueued.kind, ran.kind) == (trace.SpanKind.PRODUCER, trace.SpanKind.CONSUMER)
    assert ran.attributes["messaging.message.id"] == job.id
    assert ran.attributes["messaging.destination.name"] == "default"


def test_a_job_that_the_relay_sends_is_in_the_same_trace(
    spans: Spans, outbox: Outbox, worker: dramatiq.Worker, monkeypatch: pytest.MonkeyPatch
):
    # Given a job whose message got lost
    @dramatiq.actor
    def store() -> None:
        pass

    jobs.relay()  # so that it has seen this broker
    with spans.tracer.start_as_current_span("request") as request:
        jobs.enqueue("store")
    outbox.client.flushdb()

    # When the relay sends it again
    jobs.relay()
    worker.start()

    assert trace_of(spans.one("run store")) == trace_of(request)


def test_each_attempt_has_a_span(spans: Spans, worker: dramatiq.Worker):
    # Given a job that fails once, with a text that nobody else should read
    attempts = []

    @dramatiq.actor(min_backoff=10, max_backoff=10)
    def store() -> None:
        attempts.append(1)
        if len(attempts) == 1:
            raise ValueError("a secret")

    with spans.tracer.start_as_current_span("request") as request:
        jobs.enqueue("store")
    worker.start()

    failed, done = eventually(lambda: len(ran := spans.named("run store")) == 2 and ran)
    assert trace_of(failed) == trace_of(done) == trace_of(request)
    assert [span.attributes["gifster.job.attempt"] for span in (failed, done)] == [1, 2]
    assert failed.status.status_code is trace.StatusCode.ERROR
    assert failed.attributes["error.type"] == "ValueError"
    assert done.status.status_code is trace.StatusCode.UNSET
    assert "a secret" not in failed.to_json()


def test_a_job_of_nobodys_request_begins_a_trace(spans: Spans, worker: dramatiq.Worker):
    @dramatiq.actor
    def clean_up() -> None:
        pass

    jobs.enqueue("clean_up")
    jobs.enqueue("clean_up")
    worker.start()

    ran = eventually(lambda: len(found := spans.named("run clean_up")) == 2 and found)
    assert len({trace_of(span) for span in ran}) == 2
    assert {trace_of(s) for s in ran} == {trace_of(s) for s in spans.named("enqueue clean_up")}


def test_jobs_without_the_outbox_are_traced_too(spans: Spans, worker: dramatiq.Worker):
    @dramatiq.actor
    def greet(name: str) -> None:
        pass

    with spans.tracer.start_as_current_span("request") as request:
        greet.send("Ann")
        jobs.send_many(greet.message(name) for name in ("Bob", "Cid"))
        jobs.send_bulk(greet, [("Dan",)])
    worker.start()

    ran = eventually(lambda: len(found := spans.named("run greet")) == 4 and found)
    assert {trace_of(span) for span in ran} == {trace_of(request)}


def test_a_trace_that_is_not_recorded_is_recorded_nowhere(outbox: Outbox, worker: dramatiq.Worker):
    exporter = InMemorySpanExporter()
    never = TracerProvider(sampler=ParentBased(ALWAYS_OFF), shutdown_on_exit=False)
    never.add_span_processor(SimpleSpanProcessor(exporter))
    stop = trace_jobs(never)
    try:
        job = jobs.enqueue("nobody")
    finally:
        stop()

    # The worker, which would record, is told not to
    assert int(job.traceparent[-2:], 16) & 1 == 0
    assert exporter.get_finished_spans() == ()


@pytest.mark.parametrize(
    "sent",
    [
        "",
        "garbage",
        7,
        None,
        "00-" + "0" * 32 + "-" + "1" * 16 + "-01",
        "00-é",
        ["00"],
        "0" * 5_000,
    ],
)
def test_a_forged_traceparent_is_no_trace(spans: Spans, worker: dramatiq.Worker, sent: object):
    @dramatiq.actor
    def greet() -> None:
        pass

    message = greet.message()
    message.options[traceparent.OPTION] = sent
    dramatiq.get_broker().enqueue(message)
    worker.start()

    assert spans.one("run greet").parent is None


def test_a_skipped_message_has_no_span(spans: Spans, worker: dramatiq.Worker):
    @dramatiq.actor
    def greet() -> None:
        pass

    dropped = jobs.enqueue("greet")
    Job.delete().where(Job.id == dropped.id).execute()
    kept = jobs.enqueue("greet")
    worker.start()

    assert spans.one("run greet").attributes["messaging.message.id"] == kept.id


def test_without_tracing_a_job_has_no_trace(outbox: Outbox):
    with TracerProvider(shutdown_on_exit=False).get_tracer("test").start_as_current_span("request"):
        job = jobs.enqueue("nobody")

    assert Job.get_by_id(job.id).traceparent is None
    assert traceparent.OPTION not in job.message().options


def test_after_stop_nothing_is_traced(outbox: Outbox):
    before = list(dramatiq.get_broker().middleware)
    trace_jobs(TracerProvider(shutdown_on_exit=False))()

    assert jobs.enqueue("nobody").traceparent is None
    assert dramatiq.get_broker().middleware == before


def test_a_tracer_that_fails_loses_no_job(outbox: Outbox, caplog: pytest.LogCaptureFixture):
    class Broken(TracerProvider):
        def get_tracer(self, *arguments: Any, **options: Any) -> Any:
            return None

    stop = trace_jobs(Broken(shutdown_on_exit=False))
    try:
        job = jobs.enqueue("nobody")
    finally:
        stop()

    assert Job.get_by_id(job.id).traceparent is None
    assert "not traced actor=nobody" in caplog.text


NOT_INSTALLED = """
import sys
sys.modules["opentelemetry"] = None
from gifster import jobs
from gifster.jobs.tracing import trace_jobs
try:
    trace_jobs()
except RuntimeError as error:
    print(error)
jobs.connect("stub://")
try:
    trace_jobs()
except ModuleNotFoundError as error:
    print(error)
"""


def test_what_is_missing_is_said():
    done = subprocess.run(
        [sys.executable, "-c", NOT_INSTALLED], capture_output=True, text=True, check=False
    )

    assert done.stdout.splitlines() == [
        "no broker is set: call jobs.connect(url) before trace_jobs()",
        "traces need OpenTelemetry, which is not installed: pip install 'gifster[otel]'",
    ], done.stderr


def test_who_does_not_trace_loads_nothing_of_it():
    code = "import sys; from gifster import jobs; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert "opentelemetry" not in done.stdout
