"""Traces, from a request through the outbox to a worker, as a collector gets them."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from gifster.app.settings import Settings
from tests import images
from tests.machine import eventually, free_port
from tests.stack import Stack

SECRET = "hD3kfLq0Zx8vB2nM5pR7tY1uW4eA6sG9"
#: The trace of somebody who sends requests.
THEIRS = "4bf92f3577b34da6a3ce929d0e0e4736"


class Collector:
    """Takes spans as an OpenTelemetry collector does: OTLP over HTTP."""

    def __init__(self) -> None:
        self._lock, self._spans = threading.Lock(), []  # type: ignore[var-annotated]
        self.services: set[str] = set()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector._take(self.path, body)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def _take(self, path: str, body: bytes) -> None:
        assert path == "/v1/traces"
        sent = ExportTraceServiceRequest.FromString(body)
        with self._lock:
            for resource in sent.resource_spans:
                values = {a.key: a.value.string_value for a in resource.resource.attributes}
                self.services.add(values["service.name"])
                self._spans += [span for scope in resource.scope_spans for span in scope.spans]

    def named(self, name: str) -> list[Any]:
        with self._lock:
            return [span for span in self._spans if span.name == name]

    def of_trace(self, trace_id: bytes) -> dict[str, Any]:
        with self._lock:
            return {span.name: span for span in self._spans if span.trace_id == trace_id}

    @property
    def text(self) -> str:
        with self._lock:
            return str(self._spans)

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.stop()


def attributes(span: Any) -> dict[str, Any]:
    kinds = (a.value.WhichOneof("value") for a in span.attributes)
    return {
        a.key: getattr(a.value, kind)
        for a, kind in zip(span.attributes, kinds, strict=True)
        if kind
    }


def test_an_upload_is_one_trace_from_the_request_to_the_last_version(
    new_stack: Callable[..., Stack], collector: Collector
):
    # Given web and a worker that trace, and a proxy that is trusted
    stack = new_stack(
        GIFSTER_TRACES__URL=collector.url,
        GIFSTER_TRACES__FROM_PROXIES="true",
        GIFSTER_WEB__TRUSTED_PROXIES='["127.0.0.1"]',
        GIFSTER_WEB__ACCESS_LOG="true",
        OTEL_BSP_SCHEDULE_DELAY="100",
    )
    stack.start_web()
    stack.start_worker()

    # When the proxy passes on an upload, which is part of a trace
    sent = {"traceparent": f"00-{THEIRS}-00f067aa0ba902b7-01"}
    answer = stack.client.post(
        f"/api/gifs?key={SECRET}", files={"image": ("a.gif", images.gif())}, headers=sent,
        data={"title": SECRET},
    )  # fmt: skip
    assert answer.status_code == 202
    stack.finished(answer.json()["id"])

    # I expect the whole way in that trace, each span below the one that caused it
    names = {
        "POST /api/gifs",
        "cache",
        "enqueue store_asset",
        "run store_asset",
        "process",
        "store",
    }
    trace = eventually(lambda: len(t := collector.of_trace(bytes.fromhex(THEIRS))) >= 6 and t)
    assert names <= set(trace)
    request, ran = trace["POST /api/gifs"], trace["run store_asset"]
    assert request.parent_span_id == bytes.fromhex("00f067aa0ba902b7")
    assert trace["cache"].parent_span_id == request.span_id
    assert trace["enqueue store_asset"].parent_span_id == request.span_id
    assert ran.parent_span_id == trace["enqueue store_asset"].span_id
    for step in ("process", "store"):
        assert trace[step].parent_span_id == ran.span_id
    told = attributes(request)
    assert (told["http.route"], told["url.path"]) == ("/api/gifs", "/api/gifs")
    assert (told["http.request.method"], told["http.response.status_code"]) == ("POST", 202)
    assert collector.services == {"gifster"}

    # and no secret in it, and the id of the trace in the access log
    assert SECRET not in collector.text
    assert f" trace={THEIRS}" in stack.log("gifster-web")


@pytest.mark.parametrize(
    "settings",
    [
        {"GIFSTER_TRACES__FROM_PROXIES": "true"},
        {"GIFSTER_WEB__TRUSTED_PROXIES": '["127.0.0.1"]'},
    ],
    ids=["no proxy", "a proxy that passes on the client's"],
)
def test_a_client_cannot_choose_the_trace(
    new_stack: Callable[..., Stack], collector: Collector, settings: dict[str, str]
):
    stack = new_stack(GIFSTER_TRACES__URL=collector.url, OTEL_BSP_SCHEDULE_DELAY="100", **settings)
    stack.start_web()

    sent = {"traceparent": f"00-{THEIRS}-00f067aa0ba902b7-01"}
    stack.client.get("/tags", headers=sent)
    stack.client.get(f"/v1/tags/related/{SECRET}?api_key={SECRET}", headers=sent)
    stack.client.get(f"/nowhere/{SECRET}", headers=sent)

    (span,) = eventually(lambda: collector.named("GET /tags"))
    eventually(lambda: collector.named("GET /v1/tags/related/{term}") and collector.named("GET"))
    assert span.trace_id != bytes.fromhex(THEIRS)
    assert not span.parent_span_id
    assert SECRET not in collector.text


def test_a_collector_that_is_away_holds_nobody_up(new_stack: Callable[..., Stack]):
    # Given a collector that nobody runs
    stack = new_stack(GIFSTER_TRACES__URL=f"http://127.0.0.1:{free_port()}")
    web = stack.start_web()
    stack.start_worker()

    gif = stack.upload(images.gif()).json()
    assert stack.finished(gif["id"])["state"] == "ready"

    # When the web server is stopped, it ends
    web.terminate()
    assert web.wait(60) is not None


def test_without_opentelemetry_the_settings_say_what_to_install(
    booted: Settings, monkeypatch: pytest.MonkeyPatch
):
    import sys

    from gifster.app import tracing
    from gifster.app.errors import SettingsError

    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http", None)
    traces = booted.traces.model_copy(update={"url": "http://127.0.0.1:4318"})

    with pytest.raises(SettingsError, match=r"traces.url is set, and .*'gifster\[otel\]'"):
        tracing.trace_process(traces)
    assert tracing.provider() is None
