"""A real bundle behind a real process: the same answers everywhere, signals, and what is logged."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest

from luban.bundle.bundle import Bundle
from luban.data.sinks.jsonl import JsonLinesSink
from luban.data.sources import open_path
from luban.serve.config import ServeConfig
from luban.serve.fleet.live import FolderOrigin
from luban.serve.jobs.batch import predict_file
from luban.serve.server import serving

from .tiny import write_tiny

RUN = """
import sys
from pathlib import Path
from luban.serve.config import ServeConfig
from luban.serve.fleet.live import FolderOrigin
from luban.serve.server import serve
config = ServeConfig(port=0, log={"access": "all"})
serve(FolderOrigin(Path(sys.argv[1])), config, lambda address: print(address, flush=True))
print("returned", flush=True)
"""
ROWS = [{"text": "很好", "stars": "5"}, {"text": "太差"}, {"stars": "many"}, {"stars": 3}, {}]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles") / "tiny"
    write_tiny(folder)
    return folder


def test_the_same_answers_over_http_and_from_a_file(folder: Path, tmp_path: Path) -> None:
    bundle = Bundle.load(folder)
    expected = bundle.predict(ROWS).rows()
    assert [sorted(answer) for answer in expected][2:] == [["error"], sorted(bundle.columns), ["error"]]
    with serving(FolderOrigin(folder), ServeConfig(port=0), {}) as address:
        few = httpx.post(f"{address}/v1/predict", json={"rows": ROWS}).json()
        many = httpx.post(f"{address}/v1/predict", json={"rows": ROWS * 20}, timeout=30).json()
        strict = httpx.post(f"{address}/v1/predict", json={"rows": ROWS[:1], "options": {"threshold": 1}}).json()
    assert few["answers"] == expected
    assert few["identity"] == bundle.identity
    assert few["version"] is None
    assert strict["answers"][0]["label"] == "bad"
    for position, answer in enumerate(many["answers"]):
        alone = expected[position % len(ROWS)]
        assert {k: pytest.approx(v, abs=1e-6) for k, v in alone.items()} == answer
    _check_file(bundle, expected, tmp_path)


def _check_file(bundle: Bundle, expected: list[dict[str, object]], tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text("\n".join(json.dumps({"text": None, **row}) for row in ROWS), "utf-8")
    out = tmp_path / "out.jsonl"
    predict_file(bundle, open_path(str(tmp_path / "in.jsonl")), JsonLinesSink(), str(out), batch_rows=2)
    lines = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    for line, answer in zip(lines, expected, strict=True):
        assert line["error"] == answer.get("error")
        if line["error"] is None:
            assert {k: pytest.approx(v, abs=1e-6) for k, v in answer.items()} == {k: line[k] for k in answer}
        else:
            assert [line[name] for name in bundle.columns] == [None] * len(bundle.columns)


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_good_order(folder: Path, sign: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, str(folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    timer = threading.Timer(60, process.kill)
    timer.start()
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        secret = {"authorization": "Bearer a-key-nobody-asked-for", "x-request-id": "seen"}
        with httpx.Client(base_url=address, headers=secret) as client:
            assert client.post("/v1/predict", json={"rows": ROWS}).status_code == 200
            # The client's connection is still open and idle: that must not hold the server up.
            process.send_signal(sign)
            out, err = process.communicate()
    finally:
        timer.cancel()
        process.kill()
    assert (process.returncode, out) == (0, "returned\n")
    lines = [json.loads(line) for line in err.splitlines()]
    told = ["model loaded", "model answers", "listening", "request", "stopped"]
    assert [line["message"] for line in lines] == told
    assert lines[2]["server.address"] == address
    assert {
        "http.request.method": "POST",
        "url.path": "/v1/predict",
        "http.response.status_code": 200,
        "http.request.id": "seen",
    }.items() <= lines[3].items()
    assert "nobody-asked" not in err
    assert "很好" not in err


def test_a_damaged_folder_is_refused_before_listening(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in folder.rglob("*"):
        if path.is_file():
            target = copy / path.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    graph = copy / "stages" / "model.onnx"
    graph.write_bytes(graph.read_bytes()[:-1] + b"!")
    done = subprocess.run([sys.executable, "-c", RUN, str(copy)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "`stages/model.onnx`" in done.stderr
    assert done.stdout == ""
