"""A span for each request, if `traces.url` is set. Its attributes are those of OpenTelemetry's
conventions for HTTP servers, as far as they tell no secret: no query, and of a path what the access
log shows.

A request goes on with the trace of whoever sent it (`traceparent`, W3C Trace Context) only if
`traces.from_proxies` is on and it comes from one of `web.trusted_proxies`: otherwise any client
could say that its requests are to be recorded, and into whose trace they belong.
"""

from typing import TYPE_CHECKING

from falcon.asgi import Request, Response

from gifster.api.access_log import shown_path
from gifster.api.adapter import SPAN, Application, Message, Receive, Send
from gifster.api.forwarded import is_proxied
from gifster.app.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


class RouteOfSpan:
    """Tells a span the route of its request, which only Falcon knows."""

    async def process_response(
        self, req: Request, resp: Response, resource: object, succeeded: bool
    ) -> None:
        span = req.scope.get(SPAN)
        if span is None or not span.is_recording():
            return
        span.set_attribute("url.path", shown_path(req.uri_template, req.path))
        if req.uri_template:
            span.update_name(f"{_method(req.method)} {req.uri_template}")
            span.set_attribute("http.route", req.uri_template)


def traced(app: Application, settings: Settings, provider: "TracerProvider") -> Application:
    """An application whose requests have spans.

    Parameters:
      settings: name the proxies whose traces go on, if any.
      provider: makes the spans.
    """
    from opentelemetry import context, trace  # noqa: PLC0415 only where somebody traces
    from opentelemetry.trace.propagation.tracecontext import (  # noqa: PLC0415
        TraceContextTextMapPropagator,
    )

    tracer = trace.get_tracer("gifster.api", tracer_provider=provider)
    form = TraceContextTextMapPropagator()

    def parent(scope: Message) -> context.Context:
        believed = settings.traces.from_proxies and is_proxied(scope, settings.web)
        headers = scope["headers"] if believed else ()
        names = (b"traceparent", b"tracestate")
        sent = {n.decode(): v.decode("latin1") for n, v in headers if n in names}
        return form.extract(sent, context.Context())

    async def serve(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        method, before = _method(scope["method"]), parent(scope)
        attributes = {"http.request.method": method, "url.scheme": scope.get("scheme", "http")}
        span = tracer.start_span(method, before, trace.SpanKind.SERVER, attributes)
        scope[SPAN] = span

        async def send_noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                span.set_attribute("http.response.status_code", message["status"])
                if message["status"] >= 500:
                    span.set_status(trace.Status(trace.StatusCode.ERROR))
            await send(message)

        token = context.attach(trace.set_span_in_context(span, before))
        try:
            await app(scope, receive, send_noted)
        finally:
            context.detach(token)
            span.end()

    return serve


def _method(name: str) -> str:
    return name if name in _METHODS else "_OTHER"
