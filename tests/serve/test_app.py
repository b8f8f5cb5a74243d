"""Routes, answers and problems, over real sockets."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from luban.serve.config import ServeConfig


def ask(client: httpx.Client, rows: Any, **more: Any) -> dict[str, Any]:
    response = client.post("/v1/predict", json={"rows": rows, **more})
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def problem(response: httpx.Response, status: int, kind: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = response.json()
    assert found["type"] == f"urn:luban:problem:{kind}"
    assert found["status"] == status
    assert found["title"]
    assert found["todo"]
    assert found["request_id"] == response.headers["x-request-id"]
    return found


def test_answers_rows_in_order_with_who_answered(client: httpx.Client) -> None:
    found = ask(client, [{"text": "quite a long text"}, {"text": "short", "stars": 2}])
    assert found["answers"] == [{"label": "long", "confidence": 0.75}, {"label": "short", "confidence": 0.75}]
    assert (found["model"], found["version"], found["identity"]) == ("reviews", 1, "a" * 64)


def test_bad_rows_get_errors_in_place(client: httpx.Client) -> None:
    rows = [{"text": "short"}, {"txt": "?"}, 7, {"text": "bad"}, {"text": ["a"]}, {}, {"text": None, "stars": 1}]
    answers = ask(client, rows)["answers"]
    assert answers[0]["label"] == "short"
    assert answers[1] == {"error": "there is no column `txt`; did you mean `text`?"}
    assert "must be an object of columns, but got a number" in answers[2]["error"]
    assert answers[3] == {"error": "text: is bad"}
    assert answers[4] == {"error": "text: must be text, a number, true, false or null, but got a list"}
    assert answers[5] == {"error": "every input column is missing in this row"}
    assert answers[6]["label"] == "short"


def test_columns_that_are_no_inputs_may_be_sent(client: httpx.Client) -> None:
    assert ask(client, [{"text": "short", "label": "long"}])["answers"][0]["label"] == "short"


def test_no_rows_no_answers(client: httpx.Client) -> None:
    assert ask(client, [])["answers"] == []


def test_many_rows_answer_as_few_do(client: httpx.Client) -> None:
    rows = [{"text": "x" * (number % 20)} for number in range(2000)]
    many = ask(client, rows)["answers"]
    assert many[:5] == ask(client, rows[:5])["answers"]
    assert len(many) == 2000


@pytest.mark.parametrize(
    ("body", "offset"), [("", 0), ('{"rows": [{"stars": NaN}]}', 20), ('{"rows": [1e999]}', 10), ('{"rows": [', 10)]
)
def test_not_json(client: httpx.Client, body: str, offset: int) -> None:
    response = client.post("/v1/predict", content=body, headers={"content-type": "application/json"})
    assert problem(response, 400, "not-json")["offset"] == offset


@pytest.mark.parametrize(
    ("body", "pointer", "words"),
    [
        ([{"text": "a"}], "", "must be an object, but got a list"),
        ({"row": {"text": "a"}}, "", "Did you mean `rows`?"),
        ({}, "/rows", "must be a list of objects, but got nothing"),
        ({"rows": {"text": "a"}}, "/rows", "but got an object"),
        ({"rows": [], "options": {"threshold": 2}}, "/options/threshold", "less than or equal to 1"),
        ({"rows": [], "options": {"thresh": 0.5}}, "/options/thresh", "is not known"),
        ({"rows": [], "options": 5}, "/options", "names with values"),
    ],
)
def test_wrong_shape(client: httpx.Client, body: Any, pointer: str, words: str) -> None:
    found = problem(client.post("/v1/predict", json=body), 422, "wrong-shape")
    assert found["errors"][0]["pointer"] == pointer
    assert words in found["detail"]


def test_content_type_is_needed(client: httpx.Client) -> None:
    body = b'{"rows": []}'
    for headers in ({}, {"content-type": "text/plain"}, {"content-type": "application/json; charset=gbk"}):
        problem(client.post("/v1/predict", content=body, headers=headers), 415, "not-json-type")
    packed = {"content-type": "application/json", "content-encoding": "gzip"}
    problem(client.post("/v1/predict", content=body, headers=packed), 415, "not-json-type")
    good = {"content-type": 'Application/JSON; charset="UTF-8"'}
    assert client.post("/v1/predict", content=body, headers=good).status_code == 200


def test_paths_and_methods(client: httpx.Client) -> None:
    assert "/v1/predict" in problem(client.post("/v1/predict/"), 404, "no-such-path")["todo"]
    refused = client.get("/v1/predict")
    problem(refused, 405, "wrong-method")
    assert refused.headers["allow"] == "POST, OPTIONS"
    problem(client.delete("/health"), 405, "wrong-method")
    options = client.options("/health")
    assert (options.status_code, options.headers["allow"], options.content) == (204, "GET, HEAD, OPTIONS", b"")
    head, get = client.head("/v1/model"), client.get("/v1/model")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == get.headers["content-length"]


def test_request_id_comes_back(client: httpx.Client) -> None:
    given_id = client.get("/health", headers={"x-request-id": "abc-1.2"})
    assert given_id.headers["x-request-id"] == "abc-1.2"
    made = client.get("/health", headers={"x-request-id": "a b"}).headers["x-request-id"]
    assert re.fullmatch("[0-9a-f]{32}", made)


def test_an_error_inside_tells_nothing(client: httpx.Client) -> None:
    response = client.post("/v1/predict", json={"rows": [{"text": "explode"}]})
    found = problem(response, 500, "internal")
    assert "secret" not in json.dumps(found)
    assert client.get("/health").status_code == 200


def test_ready_model_and_page(client: httpx.Client) -> None:
    assert client.get("/health").json() == {"status": "alive"}
    ready = client.get("/ready").json()
    assert (ready["status"], ready["version"], ready["newest_refused"]) == ("ready", 1, None)
    facts = client.get("/v1/model").json()
    assert (facts["owner"], facts["task"], facts["columns"][0]["name"]) == ("team", "binary", "text")
    page = client.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "Route &lt;unhappy&gt; guests." in page.text
    assert f"curl {client.base_url}".rstrip("/") in page.text


def test_metrics(client: httpx.Client) -> None:
    ask(client, [{"text": "short"}, {"text": "bad"}, {"text": "some longer text"}, {"x": 1}])
    client.get("/nowhere")
    text = client.get("/metrics").text
    for line in (
        'luban_requests_total{route="/v1/predict",status="200"} 1.0',
        'luban_requests_total{route="(other)",status="404"} 1.0',
        'luban_rows_total{arm="champion",model="reviews",version="1"} 4.0',
        'luban_row_errors_total{arm="champion",model="reviews",version="1"} 2.0',
        'luban_answers_total{arm="champion",model="reviews",value="short",version="1"} 1.0',
        'luban_answers_total{arm="champion",model="reviews",value="long",version="1"} 1.0',
        f'luban_model_info{{identity="{"a" * 64}",model="reviews",version="1"}} 1.0',
        'luban_model_version{model="reviews"} 1.0',
        "luban_ready 1.0",
        'luban_model_stale{model="reviews"} 0.0',
    ):
        assert line in text
    assert 'luban_request_seconds_count{outcome="ok",route="/v1/predict"} 1.0' in text


class TestLimits:
    @pytest.fixture
    def config(self) -> ServeConfig:
        return ServeConfig(port=0, max_body_bytes=1000, max_rows=3)

    def test_rows(self, client: httpx.Client) -> None:
        found = problem(client.post("/v1/predict", json={"rows": [{}] * 4}), 413, "too-many-rows")
        assert "at most 3 rows, but got 4" in found["detail"]

    def test_bytes_by_length(self, client: httpx.Client) -> None:
        refused = client.post("/v1/predict", json={"rows": [{"text": "x" * 1000}]})
        assert problem(refused, 413, "too-large")["max_bytes"] == 1000
        assert refused.headers["connection"] == "close"

    def test_bytes_in_chunks(self, client: httpx.Client) -> None:
        chunks = iter([b'{"rows": ["', b"x" * 600, b"x" * 600, b'"]}'])
        response = client.post("/v1/predict", content=chunks, headers={"content-type": "application/json"})
        problem(response, 413, "too-large")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
ROW = st.dictionaries(st.sampled_from(["text", "stars", "label", "txt", ""]), JSON, max_size=4)
BODY = st.one_of(
    st.binary(max_size=200),
    JSON.map(lambda value: json.dumps(value).encode("utf-8", "surrogatepass")),
    st.lists(ROW | JSON, max_size=12).map(lambda rows: json.dumps({"rows": rows}).encode()),
    st.fixed_dictionaries({"rows": st.lists(ROW, max_size=2), "options": JSON}).map(lambda v: json.dumps(v).encode()),
)


@given(body=BODY)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_junk_never_breaks_the_server(client: httpx.Client, body: bytes) -> None:
    response = client.post("/v1/predict", content=body, headers={"content-type": "application/json"})
    assert response.status_code in (200, 400, 422)
    found = response.json()
    if response.status_code == 200:
        assert len(found["answers"]) == len(json.loads(body)["rows"])
        assert all(set(answer) in ({"label", "confidence"}, {"error"}) for answer in found["answers"])


@given(
    path=st.text(st.characters(codec="ascii"), max_size=30),
    method=st.sampled_from(["GET", "POST", "PUT", "PATCH", "TRACE", "HEAD", "OPTIONS"]),
    name=st.sampled_from(["content-type", "x-request-id", "authorization", "accept", "host", "content-encoding"]),
    value=st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=30),
)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_junk_heads_never_break_the_server(client: httpx.Client, path: str, method: str, name: str, value: str) -> None:
    try:
        request = client.build_request(method, "/" + path.lstrip("/"), headers={name: value.strip().encode("latin-1")})
    except httpx.InvalidURL:
        return
    response = client.send(request)
    assert response.status_code < 500
