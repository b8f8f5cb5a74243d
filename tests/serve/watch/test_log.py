"""The log: ECS's names, masked texts, and which requests are in it."""

from __future__ import annotations

import io
import json
import logging
import sys
import time
from typing import Any

import httpx
import pytest

from luban.serve.config import ServeConfig
from luban.serve.watch.log import MAX_COMPLAINTS_PER_S, MAX_ERRORS_PER_S, Access, JsonLines, LogConfig, set_up

from ..conftest import FakeBundle


def line(message: str, fields: dict[str, Any] | None = None, error: Exception | None = None) -> dict[str, Any]:
    record = logging.LogRecord("luban.serve", logging.INFO, "app.py", 1, message, None, None)
    if fields is not None:
        record.fields = fields
    if error is not None:
        try:
            raise error
        except Exception:
            record.exc_info = sys.exc_info()
    found: dict[str, Any] = json.loads(JsonLines().format(record))
    return found


def test_fields_have_the_names_of_ecs_and_ours_a_prefix() -> None:
    found = line("request", {"method": "GET", "duration_ns": 5, "arm": "champion", "trace_id": "", "version": None})
    assert found["http.request.method"] == "GET"
    assert found["event.duration"] == 5
    assert found["luban.arm"] == "champion"
    assert found["@timestamp"].endswith("+00:00")
    assert {"log.level": "info", "message": "request", "service.name": "luban"}.items() <= found.items()
    assert not {"trace.id", "luban.version"} & found.keys()


def test_what_looks_personal_is_masked_wherever_it_stands() -> None:
    found = line("from 13812345678", {"reason": "row: ada@example.com"}, ValueError("4111 1111 1111 1111"))
    text = json.dumps(found)
    for private in ("13812345678", "ada@example.com", "4111 1111"):
        assert private not in text
    assert found["error.type"] == "ValueError"
    assert "Traceback" in found["error.stack_trace"]
    assert found["message"] == "from [phone number]"


@pytest.mark.parametrize(
    ("access", "wanted"),
    [("none", []), ("errors", [(500, 0)]), ("slow", [(500, 0), (200, 2)]), ("all", [(500, 0), (200, 2), (200, 0)])],
)
def test_which_requests_are_logged(access: Any, wanted: list[tuple[int, float]]) -> None:
    chosen = Access(LogConfig(access=access, slow_ms=1000))
    cases = [(500, 0), (200, 2), (200, 0)]
    assert [case for case in cases if chosen.wants(*case)] == wanted


def test_a_share_leaves_failures_and_slow_ones_in() -> None:
    chosen = Access(LogConfig(access="all", share=0.5, slow_ms=1000))
    assert all(chosen.wants(503, 0) and chosen.wants(200, 2) for _ in range(100))
    assert 300 < sum(chosen.wants(200, 0) for _ in range(1000)) < 700  # 12 standard deviations


@pytest.fixture
def stream() -> io.StringIO:
    stream = io.StringIO()
    set_up(stream)
    return stream


class TestRequests:
    @pytest.fixture
    def config(self) -> ServeConfig:
        return ServeConfig(port=0, poll_s=0.02, log=LogConfig(access="all"))

    def test_a_request_is_one_line_without_its_body(
        self, stream: io.StringIO, client: httpx.Client, bundle: FakeBundle
    ) -> None:
        headers = {"x-request-id": "seen", "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"}
        client.post("/v1/predict?token=hunter22", json={"rows": [{"text": "private"}]}, headers=headers)
        client.get("/nowhere/13812345678")
        lines = [json.loads(line) for line in stream.getvalue().splitlines()]
        asked, lost = [line for line in lines if line["message"] == "request"]
        expected = {
            "http.request.method": "POST", "url.path": "/v1/predict", "http.response.status_code": 200,
            "http.request.id": "seen", "trace.id": "4bf92f3577b34da6a3ce929d0e0e4736", "luban.model": "reviews",
            "luban.version": 1, "luban.arm": "champion", "luban.rows": 1, "luban.route": "/v1/predict",
        }  # fmt: skip
        assert expected.items() <= asked.items()
        assert asked["event.duration"] > 0
        assert lost["url.path"] == "/nowhere/[phone number]"
        assert "private" not in stream.getvalue()
        assert "hunter22" not in stream.getvalue()

    def test_a_failure_is_told_with_its_traceback(self, stream: io.StringIO, client: httpx.Client) -> None:
        found = client.post("/v1/predict", json={"rows": [{"text": "explode"}]})
        lines = [json.loads(line) for line in stream.getvalue().splitlines()]
        failed = next(line for line in lines if line["message"] == "request failed")
        assert failed["http.request.id"] == found.headers["x-request-id"]
        assert (failed["error.type"], failed["log.level"]) == ("RuntimeError", "error")


def test_errors_are_logged_some_a_second(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under overload nearly all are refused; a line for each would cost more than their answers."""
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    access = Access(LogConfig())
    assert sum(access.wants(503, 0.001) for _ in range(500)) == MAX_ERRORS_PER_S
    assert stream.getvalue() == ""
    now += 1
    assert access.wants(503, 0.001)
    (line,) = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert (line["message"], line["luban.count"]) == ("requests not logged", 500 - MAX_ERRORS_PER_S)
    assert access.wants(200, 100.0)


def test_what_is_no_http_is_complained_of_some_times_a_second(
    stream: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever reaches the port can cause these lines, without a key."""
    web = logging.getLogger("uvicorn.error")
    now = [100.0]
    monkeypatch.setattr("luban.serve.watch.log.time.monotonic", lambda: now[0])
    for _ in range(1000):
        web.warning("Invalid HTTP request received.")
    web.error("something else")
    assert len(stream.getvalue().splitlines()) == MAX_COMPLAINTS_PER_S + 1
    now[0] += 1
    web.warning("Invalid HTTP request received.")
    assert json.loads(stream.getvalue().splitlines()[-1])["luban.not_logged"] == 1000 - MAX_COMPLAINTS_PER_S
