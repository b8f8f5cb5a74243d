"""Pictures through the whole line: a folder of files in; gates, reports, files and HTTP out."""

from __future__ import annotations

import base64
import csv
import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from luban import lifecycle
from luban.bundle.bundle import Bundle
from luban.catalog import EXPLAINERS, SINKS
from luban.data.sources import open_path
from luban.explain.base import Case
from luban.project import load_project
from luban.release.reports import WITH_ROWS
from luban.serve.config import ServeConfig
from luban.serve.fleet.origins import FolderOrigin
from luban.serve.jobs.batch import predict_file
from luban.serve.server import serving
from luban.workshop import Workshop

pytest.importorskip("sklearn")
ROWS = 420
PROJECT = """
name: digits
owner: ada
purpose: Read digits.
data: {source: digits, target: label}
prepare: {split: {valid: 0.2, test: 0.3}}
train: {models: [linear], num_threads: 1}
explain: {num_examples: 2, num_rows: 3, seconds: 2, methods: [permutation, {kind: shapley, coalitions: 32}]}
"""


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real handwriting: scikit-learn's digits as PNG files, with some files that are none."""
    from sklearn.datasets import load_digits

    folder = tmp_path_factory.mktemp("project")
    found = load_digits()
    for number, (pixels, digit) in enumerate(zip(found.images[:ROWS], found.target[:ROWS], strict=True)):
        path = folder / "digits" / str(digit) / f"{number:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((pixels * 255 / 16).astype(np.uint8)).save(path)
    whole = (folder / "digits/0/0000.png").read_bytes()
    (folder / "digits/0/copy.png").write_bytes(whole)
    (folder / "digits/1/cut.png").write_bytes(whole[:-40])
    (folder / "digits/2/notes.png").write_bytes(b"no picture")
    (folder / "luban.yaml").write_text(PROJECT, "utf-8")
    return folder


@pytest.fixture(scope="module")
def released(digits: Path) -> tuple[lifecycle.Outcome, Path]:
    opened, where = load_project(digits)
    with Workshop.open(opened, where).working() as shop:
        outcome = lifecycle.run(shop)
        return outcome, shop.home.store.fetch(outcome.version.tree)


def report(released: tuple[lifecycle.Outcome, Path], name: str) -> Any:
    return json.loads((released[1] / "reports" / name).read_text("utf-8"))


def test_it_learns_and_passes_the_gates(released: tuple[lifecycle.Outcome, Path]) -> None:
    accuracy = report(released, "evaluation.json")["metrics"]["accuracy"]["value"]
    assert accuracy > 0.9, accuracy
    assert all(gate["status"] in ("passed", "not applicable") for gate in report(released, "gates.json"))


def test_nothing_vanishes(released: tuple[lifecycle.Outcome, Path], digits: Path) -> None:
    opened, where = load_project(digits)
    with Workshop.open(opened, where).working() as shop:
        dataset = lifecycle.prepare(shop)
    aside = pq.read_table(dataset.folder / "quarantine.parquet").to_pylist()
    assert dataset.num_rows + len(aside) == ROWS + 3
    assert {row["rule"] for row in aside} == {"parse", "exact-copy"} or len(aside) == 3
    cut = next(row for row in aside if "damaged or cut short" in row["reason"])
    image = json.loads(cut["raw"])["image"]
    whole = base64.b64decode(image.partition(",")[2])
    assert whole == (digits / "digits/1/cut.png").read_bytes(), "set aside whole"
    profile = report(released, "prepare.json")
    assert "b'" not in json.dumps(profile)


def test_reports_show_pictures_and_hold_no_raw_bytes(released: tuple[lifecycle.Outcome, Path]) -> None:
    for path in (released[1] / "reports").glob("*.json"):
        text = path.read_text("utf-8")
        assert "\\\\x89PNG" not in text
        assert "b'" not in text, path.name
    wrong = report(released, "errors.json")["worst"]
    assert wrong, "a few are answered wrongly"
    assert all(row["pictures"]["image"].startswith("data:image/png;base64,") for row in wrong)
    assert wrong[0]["inputs"]["image"].startswith("image/png, ")
    page = (released[1] / "reports" / WITH_ROWS).read_text("utf-8")
    assert '<img src="data:image/png;base64,' in page
    assert "<img" not in (released[1] / "reports/report.html").read_text("utf-8"), "that one holds no rows"
    explained = report(released, "explained.json")["findings"]
    assert explained[0]["values"]["image"].startswith("image/png, ")
    assert {share["name"] for share in explained[0]["shares"]} >= {"row 1, column 1", "row 4, column 4"}


def test_row_explainers_read_pictures(released: tuple[lifecycle.Outcome, Path], digits: Path) -> None:
    bundle = Bundle.load(released[1])
    rows = [{"image": (digits / "digits/3/0003.png").read_bytes()}, {"image": "nonsense"}]
    for name in EXPLAINERS.names():
        explainer = EXPLAINERS.make(name)
        if explainer.explains == "row" and explainer.supports(bundle, None) is None:
            for finding in explainer.explain(Case.of(bundle, rows)):
                assert "b'" not in json.dumps(finding.to_json())
                assert "\\x89" not in str(finding.blocks())


def test_files(released: tuple[lifecycle.Outcome, Path], digits: Path, tmp_path: Path) -> None:
    bundle = Bundle.load(released[1])
    counts = predict_file(bundle, open_path(str(digits / "digits")), SINKS.make("csv"), str(tmp_path / "out.csv"))
    assert (counts.num_rows, counts.num_errors) == (ROWS + 3, 2)
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert np.mean([row["label"] == row["label_predicted"] for row in rows if not row["error"]]) > 0.9
    again = predict_file(bundle, open_path(str(tmp_path / "out.csv")), SINKS.make("jsonl"), str(tmp_path / "2.jsonl"))
    assert again.num_errors == 2, "what was written as text is read again"


def test_served(released: tuple[lifecycle.Outcome, Path], digits: Path) -> None:
    data = (digits / "digits/3/0003.png").read_bytes()
    config = ServeConfig(port=0)
    with serving(FolderOrigin(released[1]), config, {}) as address, httpx.Client(base_url=address) as client:
        by_form = client.post("/v1/predict", files={"image": ("3.png", data)}).json()["answers"]
        by_json = client.post("/v1/predict", json={"rows": [{"image": base64.b64encode(data).decode()}]}).json()
        assert by_form == by_json["answers"] == Bundle.load(released[1]).predict([{"image": data}]).rows()
        assert by_form[0]["label"] == "3"
        described = client.get("/openapi.json").json()
        takes = described["paths"]["/v1/predict"]["post"]["requestBody"]["content"]
        assert set(takes) == {"application/json", "multipart/form-data"}
        assert takes["application/json"]["example"]["rows"][0]["image"].startswith("data:image/png;base64,")
        assert described["components"]["schemas"]["Row"]["properties"]["image"]["contentEncoding"] == "base64"
        assert "data:image/png" in client.get("/").text
