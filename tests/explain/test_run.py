"""The verb: what goes into a released bundle, what is personal, what the clock decides."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from luban import lifecycle
from luban.bundle.bundle import Bundle
from luban.bundle.manifest import MANIFEST
from luban.errors import ConfigError
from luban.project import load_project
from luban.workshop import Workshop

PROJECT = """\
name: parcels
owner: service-team
purpose: Tell late parcels.
data: {source: rows.csv, columns: {message: text, days: number}, target: late}
train: {models: [linear], num_threads: 1, refit: false}
evaluate: {num_resamples: 100}
explain: {num_rows: 4, seconds: 600}
"""


def run(folder: Path, *sets: str, decisions: dict[str, Any] | None = None) -> tuple[lifecycle.Outcome, Path]:
    """The line, and the released bundle's folder."""
    with Workshop.open(*load_project(folder, sets)).working(decisions=decisions) as shop:
        outcome = lifecycle.run(shop)
        return outcome, shop.home.store.fetch(outcome.version.tree)


def read(folder: Path, name: str) -> Any:
    return json.loads((folder / "reports" / name).read_bytes())


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parcels")
    rng = random.Random(4)
    lines = ["message,days,late"]
    for number in range(300):
        late = number % 2
        words = rng.choices(["slow", "waiting"] if late else ["here", "thanks"], k=2)
        lines.append(f"{' '.join(words)} {rng.randrange(10**6)},{rng.randrange(9)},{'yes' if late else 'no'}")
    (folder / "rows.csv").write_text("\n".join(lines) + "\n", "utf-8")
    (folder / "luban.yaml").write_text(PROJECT, "utf-8")
    run(folder)
    return folder


def test_released_with_its_explanation(project: Path) -> None:
    outcome, folder = run(project)
    report = read(folder, "explanation.json")
    assert (report["protocol"], report["split"]) == (1, "valid")
    importance, shapley = report["methods"]
    assert [column["column"] for column in importance["finding"]["columns"]] == ["message", "days"]
    assert importance["finding"]["measure"] == "loss"
    assert shapley["faithfulness"]["beats_chance"]
    assert shapley["examples"] == 3
    rows = read(folder, "explained.json")["findings"]
    assert [row["method"] for row in rows] == ["shapley"] * 3
    assert all(row["gap"] < 1e-3 and row["values"]["message"] for row in rows)
    outputs = [row["output"] for row in rows]
    assert outputs == sorted(outputs, reverse=True)
    ids = set(outcome.dataset.values("_row_id", "valid"))
    assert all(row["row_id"] in ids for row in rows)


def test_values_of_rows_are_in_the_personal_file_alone(project: Path) -> None:
    _, folder = run(project)
    manifest = json.loads((folder / MANIFEST).read_bytes())
    assert "reports/explained.json" in manifest["personal"]
    assert "reports/explanation.json" not in manifest["personal"]
    said = (folder / "reports" / "explanation.json").read_text("utf-8")
    assert not any(word in said for word in ("slow", "waiting", "here", "thanks"))
    assert Bundle.load(folder).identity == manifest["identity"]


def test_what_the_clock_decides_is_recorded_and_replayed(project: Path, tmp_path: Path) -> None:
    _, folder = run(project)
    decisions = read(folder, "decisions.json")
    assert decisions["explain"] == {"rows:permutation": 30, "rows:shapley": 4}
    for name in ("rows.csv", "luban.yaml"):
        (tmp_path / name).write_bytes((project / name).read_bytes())
    given = {**decisions, "explain": {"rows:permutation": 21, "rows:shapley": 3}}
    _, other = run(tmp_path, decisions=given)
    report = read(other, "explanation.json")
    assert report["methods"][0]["finding"]["num_rows"] == 21
    assert report["methods"][1]["faithfulness"]["deletion"]["num_rows"] == 3


def test_methods_that_do_not_suit_are_refused_with_the_reason(project: Path) -> None:
    sets = ["explain.methods=[path, integrated-gradients, surrogate]"]
    with Workshop.open(*load_project(project, sets)).working() as shop:
        dataset = lifecycle.prepare(shop)
        trained = lifecycle.compress(shop, dataset, lifecycle.train(shop, dataset))
        explained = lifecycle.explain(shop, dataset, trained)
    path, gradients, surrogate = explained.report["methods"]
    assert path == {"method": "path", "refused": "its graph is no ensemble of trees"}
    assert gradients["refused"] == "its family has no gradients"
    assert "finding" not in surrogate
    assert explained.rows is not None
    assert explained.rows["findings"][0]["fidelity"] > 0.5


def test_no_methods_explain_nothing(project: Path) -> None:
    with Workshop.open(*load_project(project, ["explain.methods=[]"])).working() as shop:
        dataset = lifecycle.prepare(shop)
        trained = lifecycle.compress(shop, dataset, lifecycle.train(shop, dataset))
        explained = lifecycle.explain(shop, dataset, trained)
    assert explained.report["methods"] == []
    assert explained.rows is None
    with pytest.raises(ConfigError, match="There is no explanation method `shaply`"):
        load_project(project, ["explain.methods=[shaply]"])
