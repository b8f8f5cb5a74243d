"""The open inference protocol over REST: by hand, and by the public client of Triton."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from luban.serve.inference.tensors import Tensor, count_of, packed, unpacked

MODEL = "/v2/models/reviews"
TEXT = {"name": "text", "datatype": "BYTES", "shape": [2], "data": ["quite a long text", "short"]}
STARS = {"name": "stars", "datatype": "FP64", "shape": [2, 1], "data": [[5.0], [None]]}


def infer(client: httpx.Client, inputs: list[dict[str, Any]], status: int = 200, **more: Any) -> dict[str, Any]:
    response = client.post(f"{MODEL}/infer", json={"inputs": inputs, **more})
    assert response.status_code == status, response.text
    found: dict[str, Any] = response.json()
    return found


def columns(found: dict[str, Any]) -> dict[str, Any]:
    return {one["name"]: one["data"] for one in found["outputs"]}


def test_what_is_there(client: httpx.Client) -> None:
    assert client.get("/v2").json()["extensions"] == ["binary_tensor_data"]
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    assert client.get(f"{MODEL}/ready").json() == {"name": "reviews", "ready": True}
    found = client.get(f"{MODEL}/versions/1").json()
    assert (found["name"], found["versions"]) == ("reviews", ["1"])
    assert found["inputs"] == [
        {"name": "text", "datatype": "BYTES", "shape": [-1]},
        {"name": "stars", "datatype": "FP64", "shape": [-1]},
    ]
    assert [one["name"] for one in found["outputs"]] == ["label", "confidence", "error"]


def test_columns_in_columns_out(client: httpx.Client) -> None:
    found = infer(client, [TEXT, STARS], id="7")
    assert (found["model_name"], found["model_version"], found["id"]) == ("reviews", "1", "7")
    assert columns(found) == {"label": ["long", "short"], "confidence": [0.75, 0.75], "error": ["", ""]}
    rows = client.post("/v1/predict", json={"rows": [{"text": "quite a long text"}, {"text": "short"}]}).json()
    assert [row["label"] for row in rows["answers"]] == ["long", "short"], "as the other protocol answers"


def test_a_row_without_an_answer(client: httpx.Client) -> None:
    found = columns(infer(client, [{**TEXT, "data": ["bad", "short"]}]))
    assert found == {"label": ["", "short"], "confidence": [None, 0.75], "error": ["text: is bad", ""]}
    found = columns(infer(client, [{**TEXT, "name": "txt"}]))
    assert "did you mean `text`" in found["error"][0]


def test_outputs_options_and_versions(client: httpx.Client) -> None:
    assert list(columns(infer(client, [TEXT], outputs=[{"name": "label"}]))) == ["label"]
    infer(client, [TEXT], parameters={"threshold": 0.2, "timeout": 5_000_000, "sticky_key": "a"})
    wrong = infer(client, [TEXT], 422, parameters={"threshold": 2})
    assert "less than or equal to 1" in wrong["error"]
    assert client.get(f"{MODEL}/versions/7").status_code == 404
    assert client.post(f"{MODEL}/versions/x/infer", json={"inputs": [TEXT]}).status_code == 404
    assert client.post("/v2/models/none/infer", json={"inputs": [TEXT]}).json()["error"]
    assert client.get("/v2/nothing").json()["error"], "also where no handler was asked"


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ([], "at least one tensor"),
        ([5], "list of objects"),
        ([{"name": "text"}], "must have `name`, `datatype` and `shape`"),
        ([{**TEXT, "shape": [3]}], "must have 3 values"),
        ([{**TEXT, "shape": [1, 2]}], r"must be [n] or [n, 1]"),
        ([{**TEXT, "shape": [-1]}], r"must be [n] or [n, 1]"),
        ([{**TEXT, "shape": [True]}], r"must be [n] or [n, 1]"),
        ([{**TEXT, "datatype": "BF16"}], "must be one of BYTES"),
        ([{**TEXT, "datatype": "INT64"}], "is no INT64: 'quite"),
        ([{**TEXT, "data": [[["a"]], "b"]}], "is no BYTES"),
        ([{**TEXT, "data": "ab"}], "must be a list"),
        ([TEXT, TEXT], "stands twice"),
        ([TEXT, {**STARS, "shape": [1], "data": [1]}], "as many rows"),
        ([{**TEXT, "parameters": {"binary_data_size": 5}}], "must be a length within the body"),
        ([{**TEXT, "parameters": 5}], "must be an object"),
    ],
)
def test_what_is_no_question(client: httpx.Client, inputs: list[Any], words: str) -> None:
    assert words in infer(client, inputs, 422)["error"]


def test_bodies_that_are_cut_or_come_from_a_browser(client: httpx.Client) -> None:
    head = json.dumps({"inputs": [{**TEXT, "data": None, "parameters": {"binary_data_size": 6}}]}).encode()
    length = {"inference-header-content-length": str(len(head)), "content-type": "application/octet-stream"}
    cut = client.post(f"{MODEL}/infer", content=head + b"\x09\x00\x00\x00ab", headers=length)
    assert (cut.status_code, cut.json()["error"][:30]) == (422, "The bytes of `text` end within")
    left = client.post(f"{MODEL}/infer", content=head + b"\x00" * 9, headers=length)
    assert left.status_code == 422
    beyond = client.post(f"{MODEL}/infer", content=b"{}", headers={**length, "inference-header-content-length": "9"})
    assert beyond.status_code == 400
    assert client.post(f"{MODEL}/infer", content=b"{", headers={"content-type": "application/json"}).status_code == 400
    body = json.dumps({"inputs": [TEXT]}).encode()
    assert client.post(f"{MODEL}/infer", content=body).status_code == 200, "the public client sends no type"
    for headers in ({"origin": "http://localhost:3000"}, {"content-type": "text/plain"}):
        assert client.post(f"{MODEL}/infer", content=body, headers=headers).status_code == 415


@given(st.lists(st.text(), max_size=9))
def test_texts_survive_their_bytes(values: list[str]) -> None:
    assert unpacked("a", "BYTES", len(values), packed(Tensor("a", "BYTES", list(values)))).values == values


@given(st.lists(st.one_of(st.none(), st.floats(allow_nan=False)), max_size=9))
def test_numbers_survive_their_bytes(values: list[float | None]) -> None:
    assert unpacked("a", "FP64", len(values), packed(Tensor("a", "FP64", list(values)))).values == values
    assert count_of("a", [len(values), 1]) == len(values)


@pytest.fixture
def triton(client: httpx.Client) -> Iterator[Any]:
    """NVIDIA's `tritonclient[http]`. It must be collected in the thread that made it: its sockets are gevent's."""
    module = pytest.importorskip("tritonclient.http")
    made = module.InferenceServerClient(f"{client.base_url.host}:{client.base_url.port}")
    yield made
    made.close()
    del made
    gc.collect()


def tensor(name: str, values: Any, datatype: str, binary: bool = True) -> Any:
    from tritonclient.http import InferInput

    made = InferInput(name, list(values.shape), datatype)
    made.set_data_from_numpy(values, binary_data=binary)
    return made


def texts(found: Any) -> list[str]:
    return [value.decode() if isinstance(value, bytes) else str(value) for value in found.tolist()]


def test_the_public_client_learns_what_is_there(triton: Any) -> None:
    assert triton.is_server_live()
    assert triton.is_server_ready()
    assert triton.is_model_ready("reviews")
    assert triton.is_model_ready("reviews", "1")
    assert not triton.is_model_ready("reviews", "7")
    assert triton.get_server_metadata()["name"] == "luban"
    assert triton.get_model_metadata("reviews")["inputs"][0]["name"] == "text"


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("named", [True, False])
def test_the_public_client_asks(triton: Any, binary: bool, named: bool) -> None:
    from tritonclient.http import InferRequestedOutput

    inputs = [tensor("text", np.array([["房间很干净，下次还会再来"], ["short"], ["bad"]], object), "BYTES", binary)]
    if binary:  # the client's own JSON cannot hold NaN
        inputs.append(tensor("stars", np.array([1, np.nan, 2], np.float32), "FP32"))
    outputs = [InferRequestedOutput(name, binary_data=binary) for name in ("label", "confidence", "error")]
    found = triton.infer("reviews", inputs, outputs=outputs if named else None, parameters={"threshold": 0.3})
    assert texts(found.as_numpy("label")) == ["long", "short", ""]
    assert found.as_numpy("confidence").astype(float)[:2].tolist() == [0.75, 0.75]
    assert np.isnan(found.as_numpy("confidence").astype(float)[2])
    assert texts(found.as_numpy("error"))[2] == "text: is bad"


def test_the_public_client_is_told_what_is_wrong(triton: Any) -> None:
    from tritonclient.utils import InferenceServerException

    with pytest.raises(InferenceServerException, match="There is no model `none` here"):
        triton.infer("none", [tensor("text", np.array(["a"], object), "BYTES")])
