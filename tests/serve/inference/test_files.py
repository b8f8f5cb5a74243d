"""Pictures over the open inference protocol: raw bytes over gRPC and in binary tensors, base64 in JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest

from luban.serve.http.problems import Problem
from luban.serve.inference.tensors import text_or_file, unpacked
from ports import free_port

from ..kept import server
from ..pictured import DARK, LIGHT, b64, pictured, png

INFER = "/v2/models/reviews/infer"
GRPC = free_port()


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    pytest.importorskip("grpc")
    home = pictured(tmp_path_factory.mktemp("pictured"))
    with server(home, grpc={"port": GRPC}) as client:
        yield client
    home.ledger.close()


def labels(found: dict[str, Any]) -> list[str]:
    return next(one["data"] for one in found["outputs"] if one["name"] == "label")


def test_json(api: httpx.Client) -> None:
    inputs = [{"name": "image", "datatype": "BYTES", "shape": [2], "data": [b64(LIGHT), b64(DARK)]}]
    response = api.post(INFER, json={"inputs": inputs})
    assert labels(response.json()) == ["good", "bad"]
    assert api.get("/v2/models/reviews").json()["inputs"][0]["datatype"] == "BYTES"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF"])
def test_binary_tensors_by_the_public_client(api: httpx.Client, kind: str) -> None:
    triton = pytest.importorskip("tritonclient.http")
    with triton.InferenceServerClient(f"{api.base_url.host}:{api.base_url.port}") as client:
        asked = triton.InferInput("image", [2], "BYTES")
        asked.set_data_from_numpy(np.array([png(230, kind=kind), png(20, kind=kind)], np.object_), binary_data=True)
        found = client.infer("reviews", [asked])
    assert found.as_numpy("label").tolist() == [b"good", b"bad"]


def test_grpc(api: httpx.Client) -> None:
    triton = pytest.importorskip("tritonclient.grpc")
    with triton.InferenceServerClient(f"127.0.0.1:{GRPC}") as client:
        asked = triton.InferInput("image", [2], "BYTES")
        asked.set_data_from_numpy(np.array([LIGHT, DARK], np.object_))
        found = client.infer("reviews", [asked])
    assert found.as_numpy("label").tolist() == [b"good", b"bad"]


def test_text_stays_text_and_other_bytes_are_refused() -> None:
    assert text_or_file("note", "grün".encode()) == "grün"
    assert text_or_file("image", LIGHT) == LIGHT
    with pytest.raises(Problem, match="not UTF-8 at byte 0"):
        text_or_file("note", b"\xfe\xfe")
    with pytest.raises(Problem, match="end within a text"):
        unpacked("image", "BYTES", 1, len(LIGHT).to_bytes(4, "little") + LIGHT[:-1])
