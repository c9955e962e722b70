"""Traces by OpenTelemetry, if `traces.url` is set: from a request through the outbox to the worker,
with the steps of its upload. They go to a collector by OTLP over HTTP.

`api/traced.py` has the spans of requests, `gifster.jobs.tracing` those of jobs. Nothing of
OpenTelemetry is loaded where nobody traces.
"""

import threading
from collections.abc import Callable
from functools import wraps
from importlib.util import find_spec
from multiprocessing.util import Finalize
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from gifster import __version__
from gifster.app.errors import SettingsError
from gifster.app.settings import Traces
from gifster.jobs.tracing import NEEDED, trace_jobs
from gifster.uploads import instrumentation

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

P = ParamSpec("P")
R = TypeVar("R")

#: The facts of an upload's step that its span has: no names and no keys.
FACTS = ("storage", "bytes", "content_type", "version", "derivation")

#: Of the extra; the others come with it.
NEEDED_MODULE = "opentelemetry.exporter.otlp.proto.http"
#: How long a collector has to take spans, and the last ones when the process ends (seconds).
SEND_S, LAST_S = 5.0, 2.0

_provider: "TracerProvider | None" = None


def provider() -> "TracerProvider | None":
    """Who makes the spans of this process; None if nobody traces."""
    return _provider


def check_traces(settings: Traces) -> None:
    """Check, without loading it, that what traces need is installed if the settings want them.

    Raises:
      SettingsError: it is not; names the extra.
    """
    if settings.url and not _is_there(NEEDED_MODULE):
        raise SettingsError(f"traces.url is set, and {NEEDED}")


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ModuleNotFoundError, ValueError):
        return False


def trace_process(settings: Traces) -> None:
    """Trace this process from now on, if the settings say where to. Call it once, in the process
    that works, as it starts a thread.

    Raises:
      SettingsError: OpenTelemetry is not installed; names the extra.
    """
    global _provider  # noqa: PLW0603 a process traces, or not
    if not settings.url or _provider is not None:
        return
    check_traces(settings)
    _provider = _made(settings)
    trace_jobs(_provider)
    instrumentation.subscribe(_step_of(_provider))
    # Worker and web processes end without `atexit`.
    Finalize(None, _send_the_rest, args=[_provider], exitpriority=1)


def _send_the_rest(of: "TracerProvider") -> None:
    """Send what waits, before the process ends. It does not wait for a collector that hangs."""
    sending = threading.Thread(target=of.shutdown, daemon=True)
    sending.start()
    sending.join(LAST_S)


def _made(settings: Traces) -> "TracerProvider":
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
        OTLPSpanExporter,
    )
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased  # noqa: PLC0415

    ours = Resource.create({"service.name": "gifster", "service.version": __version__})
    resource = ours.merge(OTELResourceDetector().detect())  # OTEL_SERVICE_NAME, and so on
    made = TracerProvider(
        resource=resource,
        sampler=ParentBased(TraceIdRatioBased(settings.fraction)),
        shutdown_on_exit=False,
    )
    url = settings.url.rstrip("/") + "/v1/traces"
    exporter = OTLPSpanExporter(endpoint=url, timeout=SEND_S)
    made.add_span_processor(BatchSpanProcessor(exporter))
    return made


def _step_of(of: "TracerProvider") -> Callable[[instrumentation.Event], None]:
    """Records a step of an upload, which has just ended on this thread."""
    from opentelemetry import trace  # noqa: PLC0415 only where somebody traces

    tracer = trace.get_tracer("gifster.uploads", tracer_provider=of)

    def record(event: instrumentation.Event) -> None:
        if not trace.get_current_span().is_recording():
            return  # a step without a request or a job has no trace to be part of
        facts = {f"gifster.{name}": event.facts[name] for name in FACTS if name in event.facts}
        span = tracer.start_span(event.name, attributes=facts, start_time=event.started_ns)
        if event.error is not None:
            name = type(event.error).__name__
            span.set_attribute("error.type", name)
            span.set_status(trace.Status(trace.StatusCode.ERROR, name))
        span.end(event.started_ns + round(event.duration_s * 1e9))

    return record


def carried(work: Callable[P, R]) -> Callable[P, R]:
    """Work that belongs to the present trace on whatever thread it runs."""
    if _provider is None:
        return work
    from opentelemetry import context  # noqa: PLC0415 loaded already

    here = context.get_current()

    @wraps(work)
    def attached(*args: P.args, **kwargs: P.kwargs) -> R:
        token = context.attach(here)
        try:
            return work(*args, **kwargs)
        finally:
            context.detach(token)

    return attached
