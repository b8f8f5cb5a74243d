"""Traces, as a collector sees them: a receiver of OTLP over HTTP takes what a real server sends."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from luban.errors import MissingExtra
from luban.serve.config import ServeConfig
from luban.serve.fleet.live import FolderOrigin
from luban.serve.inference.grpc_config import GrpcConfig
from luban.serve.server import serving
from luban.serve.watch.accounts import Called
from luban.serve.watch.tracing import TraceConfig, Tracer, parent_of
from ports import free_port

from ..tiny import write_tiny

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
ROWS = {"rows": [{"text": "请致电13812345678", "stars": 5}]}


class Collector:
    """Takes spans at `/v1/traces`, as protobuf."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.resources: list[Any] = []
        self.raw = b""
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                assert (self.path, self.headers["content-type"]) == ("/v1/traces", "application/x-protobuf")
                message = ExportTraceServiceRequest()
                message.ParseFromString(body)
                collector.raw += body
                for resource in message.resource_spans:
                    collector.resources.append(resource.resource)
                    for scope in resource.scope_spans:
                        collector.spans.extend(scope.spans)
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"

    def by_name(self) -> dict[str, Any]:
        return {span.name: span for span in self.spans}


@pytest.fixture
def collector() -> Iterator[Collector]:
    pytest.importorskip("opentelemetry.sdk")
    collector = Collector()
    thread = threading.Thread(target=collector.server.serve_forever)
    thread.start()
    yield collector
    collector.server.shutdown()
    thread.join()
    collector.server.server_close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles") / "tiny"
    write_tiny(folder)
    return folder


@contextmanager
def traced(folder: Path, endpoint: str, share: float) -> Iterator[httpx.Client]:
    config = ServeConfig(port=0, trace=TraceConfig(endpoint=endpoint, share=share))
    with serving(FolderOrigin(folder), config, {}) as address, httpx.Client(base_url=address) as client:
        yield client


def attributes(one: Any) -> dict[str, Any]:
    return {item.key: getattr(item.value, item.value.WhichOneof("value")) for item in one.attributes}


def test_a_request_becomes_spans_of_its_callers_trace(collector: Collector, folder: Path) -> None:
    before = time.time_ns()
    with traced(folder, collector.address, 0.0) as client:
        headers = {"traceparent": f"00-{TRACE}-{SPAN}-01", "x-request-id": "seen", "authorization": "Bearer a-secret"}
        answer = client.post("/v1/predict", json=ROWS, headers=headers)
        assert answer.status_code == 200
    spans = collector.by_name()
    root = spans["POST /v1/predict"]
    assert sorted(spans) == ["POST /v1/predict", "admit", "model", "wait"]
    assert {span.trace_id.hex() for span in spans.values()} == {TRACE}
    assert (root.parent_span_id.hex(), root.kind) == (SPAN, 2)
    assert answer.headers["traceparent"] == f"00-{TRACE}-{root.span_id.hex()}-01"
    for name in ("admit", "wait", "model"):
        assert spans[name].parent_span_id == root.span_id
        assert before <= root.start_time_unix_nano <= spans[name].start_time_unix_nano
        assert spans[name].start_time_unix_nano <= spans[name].end_time_unix_nano <= root.end_time_unix_nano
    assert root.end_time_unix_nano <= time.time_ns()
    assert spans["wait"].end_time_unix_nano == spans["model"].start_time_unix_nano
    expected = {"http.request.method": "POST", "http.response.status_code": 200, "http.route": "/v1/predict"}
    expected |= {"luban.request_id": "seen", "luban.model": "reviews", "luban.arm": "champion", "luban.rows": 1}
    assert attributes(root) == expected
    assert attributes(collector.resources[0])["service.name"] == "luban"
    for private in (b"13812345678", "请".encode(), b"a-secret", b"127.0.0.1"):
        assert private not in collector.raw


def test_a_clock_that_jumps_in_between_turns_no_span_round(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracer = Tracer(TraceConfig(endpoint=collector.address, share=1))
    told = Called("/v1/predict", "/v1/predict", {})
    tracer.begin(told)
    began = time.perf_counter()
    monkeypatch.setattr("time.time_ns", lambda: 0)
    told.track.span("model", began, time.perf_counter())
    tracer.end(told, 200)
    tracer.close()
    root, model = collector.by_name()["POST /v1/predict"], collector.by_name()["model"]
    assert root.start_time_unix_nano <= model.start_time_unix_nano + 1000  # perf_counter is a float of seconds
    assert model.start_time_unix_nano <= model.end_time_unix_nano <= root.end_time_unix_nano + 1000


def test_reasons_have_a_span_of_their_own(collector: Collector, folder: Path) -> None:
    with traced(folder, collector.address, 1.0) as client:
        assert client.post("/v1/predict", json={**ROWS, "explain": True}).status_code == 200
    spans = collector.by_name()
    assert sorted(spans) == ["POST /v1/predict", "admit", "explain", "model", "wait"]
    assert spans["explain"].start_time_unix_nano >= spans["model"].end_time_unix_nano


def test_calls_of_grpc_are_traced_as_well(collector: Collector, folder: Path) -> None:
    grpc = pytest.importorskip("grpc")
    from luban.serve.inference.proto import messages

    made = messages("open_inference.proto")
    port = free_port()
    trace = TraceConfig(endpoint=collector.address, share=0)
    config = ServeConfig(port=0, trace=trace, grpc=GrpcConfig(port=port))
    tensor = {"name": "text", "datatype": "BYTES", "shape": [1], "contents": {"bytes_contents": [b"13812345678"]}}
    with serving(FolderOrigin(folder), config, {}), grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        infer = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=made["ModelInferRequest"].SerializeToString,
            response_deserializer=made["ModelInferResponse"].FromString,
        )
        metadata = (("traceparent", f"00-{TRACE}-{SPAN}-01"),)
        infer(made["ModelInferRequest"](model_name="reviews", inputs=[tensor]), timeout=10, metadata=metadata)
    spans = collector.by_name()
    root = spans["POST /inference.GRPCInferenceService/ModelInfer"]
    assert (root.trace_id.hex(), root.parent_span_id.hex()) == (TRACE, SPAN)
    assert {"admit", "wait", "model"} < spans.keys()
    assert b"13812345678" not in collector.raw


def test_a_caller_that_samples_not_is_not_traced(collector: Collector, folder: Path) -> None:
    with traced(folder, collector.address, 1.0) as client:
        answer = client.post("/v1/predict", json=ROWS, headers={"traceparent": f"00-{TRACE}-{SPAN}-00"})
        assert "traceparent" not in answer.headers
        drawn = client.get("/health").headers["traceparent"]
        client.get("/nowhere/13812345678")
        broken = client.post("/v1/predict", content=b"{", headers={"content-type": "application/json"})
        assert broken.status_code == 400
    assert {"GET /health", "GET", "POST /v1/predict"} <= collector.by_name().keys()
    assert TRACE not in {span.trace_id.hex() for span in collector.spans}
    assert parent_of(drawn) is not None
    assert b"13812345678" not in collector.raw


def test_a_share_of_none_traces_nobody(collector: Collector, folder: Path) -> None:
    with traced(folder, collector.address, 0.0) as client:
        assert "traceparent" not in client.get("/health").headers
    assert collector.spans == []


def test_a_collector_that_is_gone_costs_no_answer(folder: Path) -> None:
    pytest.importorskip("opentelemetry.sdk")
    with traced(folder, "http://127.0.0.1:9", 1.0) as client:
        assert client.post("/v1/predict", json=ROWS).status_code == 200


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import builtins

    original = builtins.__import__

    def absent(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("opentelemetry"):
            raise ModuleNotFoundError(f"No module named {name!r}", name="opentelemetry")
        return original(name, *args, **kwargs)

    def import_module(name: str) -> Any:
        return absent(name)

    monkeypatch.setattr("luban.catalog.importlib.import_module", import_module)
    with pytest.raises(MissingExtra, match=r"luban\[otel\]"):
        Tracer(TraceConfig(endpoint="http://127.0.0.1:4318"))


@pytest.mark.parametrize("endpoint", ["localhost:4318", "http://user:password@127.0.0.1:4318", "ftp://a"])
def test_an_endpoint_is_an_address_without_a_password(endpoint: str) -> None:
    with pytest.raises(ValidationError, match="must be an address"):
        TraceConfig(endpoint=endpoint)


@pytest.mark.parametrize(
    "header",
    [
        "", "junk", f"00-{'0' * 32}-{SPAN}-01", f"00-{TRACE}-{'0' * 16}-01", f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more", f"00-{TRACE.upper()}-{SPAN}-01", f"00-{TRACE}-{SPAN}",
    ],
)  # fmt: skip
def test_headers_that_are_none(header: str) -> None:
    assert parent_of(header) is None


def test_later_versions_may_have_more_parts() -> None:
    assert parent_of(f"01-{TRACE}-{SPAN}-01-more") == (int(TRACE, 16), int(SPAN, 16), True)


@given(st.text(max_size=80))
def test_any_header_is_read_or_none(header: str) -> None:
    found = parent_of(header)
    assert found is None or (0 < found[0] < 2**128 and 0 < found[1] < 2**64)
