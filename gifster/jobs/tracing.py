"""Traces of jobs by OpenTelemetry: a span for each job that is enqueued, and one for each attempt
to run it, in the same trace. The trace of a request that enqueues a job goes on in the worker,
whatever happens in between: it is in the job's row (`traceparent.py`), so a job that the relay
sends again has it, too.

It needs OpenTelemetry's API, which is loaded only where somebody traces. The names of spans and
attributes are those of its conventions for messaging.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import dramatiq
import dramatiq.broker
from dramatiq.broker import MessageProxy
from dramatiq.common import q_name
from dramatiq.middleware import Middleware

from gifster.jobs.middleware import is_throttled
from gifster.jobs.traceparent import OPTION, is_valid, note_enqueued_by

if TYPE_CHECKING:
    from opentelemetry.trace import Span, TracerProvider

logger = logging.getLogger("gifster.jobs")

NEEDED = "traces need OpenTelemetry, which is not installed: pip install 'gifster[otel]'"


def trace_jobs(provider: "TracerProvider | None" = None) -> Callable[[], None]:
    """Trace the jobs that this process enqueues and runs. Call it after `connect()`.

    A job's trace is that of the code that enqueues it (a request's, another job's), or a new one.
    Jobs that `send()` sends without the outbox are traced, too. Spans have the names of actors and
    queues, and no arguments.

    Parameters:
      provider: whose tracer is used; None for OpenTelemetry's global one.

    Returns:
      a function that ends the tracing.

    Raises:
      ModuleNotFoundError: OpenTelemetry is not installed; names the extra.
      RuntimeError: `connect()` was not called before.
    """
    broker = dramatiq.broker.global_broker
    if broker is None:
        raise RuntimeError("no broker is set: call jobs.connect(url) before trace_jobs()")
    traces = _Traces(provider)
    middleware = Tracing(traces)
    broker.add_middleware(middleware)
    note_enqueued_by(traces.enqueued)

    def stop() -> None:
        note_enqueued_by(None)
        broker.middleware.remove(middleware)

    return stop


class _Traces:
    """Makes the spans.

    Raises:
      ModuleNotFoundError: OpenTelemetry is not installed; names the extra.
    """

    def __init__(self, provider: "TracerProvider | None") -> None:
        try:
            from opentelemetry import context, trace  # noqa: PLC0415 only where somebody traces
            from opentelemetry.trace.propagation.tracecontext import (  # noqa: PLC0415
                TraceContextTextMapPropagator,
            )
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(NEEDED, name=error.name) from None
        self._trace, self._context = trace, context
        self._tracer = trace.get_tracer("gifster.jobs", tracer_provider=provider)
        self._form = TraceContextTextMapPropagator()

    def enqueued(self, actor: str, queue: str) -> str | None:
        """Record that a job is enqueued. Returns the `traceparent` of its attempts; None if that
        fails, because no job may be lost for it."""
        try:
            return self._enqueued(actor, queue)
        except Exception:
            logger.exception("not traced actor=%s", actor)
            return None

    def _enqueued(self, actor: str, queue: str) -> str | None:
        attributes = self._attributes(actor, queue, "send")
        span = self._tracer.start_span(
            f"enqueue {actor}", kind=self._trace.SpanKind.PRODUCER, attributes=attributes
        )
        span.end()
        carrier: dict[str, str] = {}
        self._form.inject(carrier, self._trace.set_span_in_context(span))
        return carrier.get(OPTION)

    def begin(self, message: dramatiq.Message[Any]) -> tuple["Span", Any]:
        """Begin an attempt to run a job. From now on, it is the thread's current span."""
        sent, parent = message.options.get(OPTION), self._context.Context()
        if is_valid(sent):
            parent = self._form.extract({OPTION: sent}, parent)
        attributes = self._attributes(message.actor_name, q_name(message.queue_name), "process")
        waited_ms = max(0, time.time() * 1000 - message.message_timestamp)
        attributes |= {
            "messaging.message.id": str(message.options.get("outbox_id", message.message_id)),
            "gifster.job.attempt": int(message.options.get("retries") or 0) + 1,
            "gifster.job.waited_ms": round(waited_ms),
        }
        span = self._tracer.start_span(
            f"run {message.actor_name}",
            parent,
            kind=self._trace.SpanKind.CONSUMER,
            attributes=attributes,
        )
        return span, self._context.attach(self._trace.set_span_in_context(span, parent))

    def end(self, span: "Span", attached: Any, error: BaseException | None) -> None:
        """End an attempt."""
        self._context.detach(attached)
        if error is not None:
            # Its text may have what no trace should: addresses, names of files.
            span.set_attribute("error.type", type(error).__name__)
            span.set_status(self._trace.Status(self._trace.StatusCode.ERROR, type(error).__name__))
        span.end()

    def _attributes(self, actor: str, queue: str, operation: str) -> dict[str, Any]:
        return {
            "messaging.system": "dramatiq",
            "messaging.destination.name": queue,
            "messaging.operation.name": operation,
            "messaging.operation.type": operation,
            "gifster.job.actor": actor,
        }


class Tracing(Middleware):
    """Traces each attempt, from after the job's row was leased to the end of its actor."""

    def __init__(self, traces: _Traces) -> None:
        self._traces = traces
        self._thread = threading.local()

    def before_enqueue(
        self, broker: dramatiq.Broker, message: dramatiq.Message[Any], delay: int | None
    ) -> None:
        # A message of the outbox has its row's, and one that is sent again the first one's.
        if "outbox_id" not in message.options and OPTION not in message.options:
            sent = self._traces.enqueued(message.actor_name, q_name(message.queue_name))
            if sent is not None:
                message.options[OPTION] = sent

    def before_process_message(self, broker: dramatiq.Broker, message: MessageProxy) -> None:
        self._thread.running = self._traces.begin(message._message)

    def after_process_message(
        self,
        broker: dramatiq.Broker,
        message: MessageProxy,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        running = getattr(self._thread, "running", None)
        if running is not None:
            self._thread.running = None
            span, attached = running
            error = None if is_throttled(message, exception) else exception
            self._traces.end(span, attached, error)

    def after_skip_message(self, broker: dramatiq.Broker, message: MessageProxy) -> None:
        self.after_process_message(broker, message)
