"""Traces by OpenTelemetry: where the time of a request went.

One span for the request (by OpenTelemetry's conventions for HTTP), and below it `admit`, `wait`, `model` and
`explain`. Decided here:

- off unless `serve.trace.endpoint` is set, and then it costs a comparison a request; the library is imported
  only then (`luban[otel]`);
- a caller's W3C `traceparent` is followed: its trace goes on, and its decision whether to sample holds; of all other
  requests a share is drawn. The answer's `traceparent` names our own span;
- spans are made when a request is over and sent by a thread, over HTTP as protobuf; a collector that is slow or gone
  costs spans, never answers;
- attributes are methods, routes, statuses, models, versions and counts: never a row, an answer, a caller or an address.

https://www.w3.org/TR/trace-context, https://opentelemetry.io/docs/specs/semconv/http/http-spans
"""

from __future__ import annotations

import random
import re
import time
from typing import TYPE_CHECKING, Any

from pydantic import field_validator

from luban import __version__
from luban.catalog import Config, execution, need
from luban.policy.masking import mask

if TYPE_CHECKING:
    from luban.serve.watch.track import Told

TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?"
)
TIMEOUT_S = 5
PATH = "/v1/traces"


class TraceConfig(Config):
    """Where traces go, and of how many requests."""

    endpoint: str = execution("")
    """Address of a collector that takes OTLP over HTTP, as http://127.0.0.1:4318; "" for no traces. Headers it needs
    are taken from OTEL_EXPORTER_OTLP_HEADERS."""
    share: float = execution(0.01, ge=0, le=1)
    """Share of requests that are traced, of those whose caller has not decided that."""

    @field_validator("endpoint")
    @classmethod
    def _is_address(cls, value: str) -> str:
        if value and not re.fullmatch(r"https?://[^\s/@]+(/\S*)?", value):
            raise ValueError("must be an address like http://127.0.0.1:4318, without a password")
        return value


def parent_of(header: str) -> tuple[int, int, bool] | None:
    """Trace, span and whether it is sampled, of a `traceparent` header; None where it is none.

    >>> parent_of("00-0000000000000000000000000000000a-000000000000000b-01")
    (10, 11, True)
    """
    found = TRACEPARENT.fullmatch(header)
    if found is None or (header.startswith("00") and found["more"]):  # version 0 has four parts
        return None
    trace, span = int(found["trace"], 16), int(found["span"], 16)
    return (trace, span, bool(int(found["flags"], 16) & 1)) if trace and span else None


class Tracer:
    """Traces of one application. Raises MissingExtra where the library is not installed."""

    def __init__(self, config: TraceConfig) -> None:
        self._api = need("opentelemetry.trace", "otel")
        resources = need("opentelemetry.sdk.resources", "otel")
        sdk = need("opentelemetry.sdk.trace", "otel")
        sampling = need("opentelemetry.sdk.trace.sampling", "otel")
        export = need("opentelemetry.sdk.trace.export", "otel")
        http = need("opentelemetry.exporter.otlp.proto.http.trace_exporter", "otel")
        about = {"service.name": "luban", "service.version": __version__}
        exporter = http.OTLPSpanExporter(endpoint=_full(config.endpoint), timeout=TIMEOUT_S)
        self._provider = sdk.TracerProvider(
            sampler=sampling.ALWAYS_ON, resource=resources.Resource.create(about), shutdown_on_exit=False
        )
        self._provider.add_span_processor(export.BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("luban.serve", __version__)
        self._share = config.share

    def begin(self, request: Told) -> None:
        """Note that a request is traced, if it is."""
        if request.track.root is not None:
            return  # It was put off, and comes again.
        parent = parent_of(request.header("traceparent"))
        sampled = parent[2] if parent is not None else random.random() < self._share
        if not sampled:
            return
        began_ns = time.time_ns()
        kind = self._api.SpanKind.SERVER
        span = self._tracer.start_span(request.method, self._context(parent), kind=kind, start_time=began_ns)
        own = span.get_span_context()
        request.track.spans = []
        # The parts of a request are timed by a clock that never jumps; the one on the wall is asked once a request.
        request.track.root = (span, began_ns - time.perf_counter_ns())
        request.track.traceparent = f"00-{own.trace_id:032x}-{own.span_id:016x}-01"

    def end(self, request: Told, status: int) -> None:
        """Make the spans of a request that is over."""
        track = request.track
        root: Any = track.root
        if root is None or track.spans is None:
            return
        span, ahead_ns = root
        span.update_name(f"{request.method} {request.route}" if request.route else request.method)
        span.set_attributes(_attributes(request, status))
        if status >= 500:
            span.set_status(self._api.StatusCode.ERROR)
        context = self._api.set_span_in_context(span)
        for name, began, ended in track.spans:
            part = self._tracer.start_span(name, context, start_time=int(began * 1e9) + ahead_ns)
            part.end(int(ended * 1e9) + ahead_ns)
        span.end(time.perf_counter_ns() + ahead_ns)
        track.root = track.spans = None

    def close(self) -> None:
        """Send what is left, for TIMEOUT_S at most."""
        self._provider.force_flush(TIMEOUT_S * 1000)
        self._provider.shutdown()

    def _context(self, parent: tuple[int, int, bool] | None) -> Any:
        if parent is None:
            return None
        flags = self._api.TraceFlags(self._api.TraceFlags.SAMPLED)
        remote = self._api.SpanContext(parent[0], parent[1], is_remote=True, trace_flags=flags)
        return self._api.set_span_in_context(self._api.NonRecordingSpan(remote))


def _attributes(request: Told, status: int) -> dict[str, str | int]:
    found: dict[str, str | int] = {
        "http.request.method": request.method,
        "http.response.status_code": status,
        "luban.request_id": mask(request.id),  # a client may have chosen its telephone number
    }
    if request.route:
        found["http.route"] = request.route
    if status >= 500:
        found["error.type"] = str(status)
    picked = request.track.picked
    if picked is not None:
        served = picked.arm.served
        found |= {"luban.model": served.name, "luban.arm": picked.arm.name, "luban.rows": request.track.num_rows}
        found |= {"luban.version": served.version} if served.version is not None else {}
    return found


def _full(endpoint: str) -> str:
    """The address that spans are sent to.

    >>> _full("http://127.0.0.1:4318"), _full("http://127.0.0.1:4318/otlp/v1/traces")
    ('http://127.0.0.1:4318/v1/traces', 'http://127.0.0.1:4318/otlp/v1/traces')
    """
    return endpoint if endpoint.endswith(PATH) else endpoint.rstrip("/") + PATH
