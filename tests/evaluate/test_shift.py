"""Shifted data: another file through the bundle, beside the model's own test; from the command line too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from luban.bundle.bundle import Bundle
from luban.cli.main import app
from luban.data.schema import Column
from luban.data.sources import open_path
from luban.errors import DataError
from luban.evaluate.config import EvaluateConfig
from luban.evaluate.drift import Drift, drift
from luban.evaluate.records import Estimate
from luban.evaluate.shift import Beside, Original, Shift, beside, shift
from luban.evaluate.shift_text import markdown

from .made import make, rows, write

pytest.importorskip("sklearn")
CONFIG = EvaluateConfig(num_resamples=200)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("chats")
    make(made)
    return made


@pytest.fixture(scope="module")
def bundle(folder: Path) -> Bundle:
    return Bundle.load(make(folder)[0].bundle)


@pytest.fixture(scope="module")
def own(folder: Path) -> dict[str, Any]:
    return make(folder)[1].report


def measure(bundle: Bundle, own: dict[str, Any], path: Path, found: list[dict[str, str]]) -> Shift:
    return shift(bundle, open_path(str(write(path, found))), path.name, Original(own), CONFIG, 0)


def test_rows_of_the_same_kind_are_no_worse(bundle: Bundle, own: dict[str, Any], tmp_path: Path) -> None:
    found = measure(bundle, own, tmp_path / "same.csv", rows(600, seed=2))
    assert (found.num_rows, found.num_answered, found.num_labelled) == (600, 600, 600)
    accuracy = found.metrics["accuracy"]
    assert accuracy.before is not None
    assert not accuracy.worse
    assert accuracy.low is not None
    assert accuracy.high is not None
    assert accuracy.low < accuracy.difference < accuracy.high  # type: ignore[operator]
    assert sum(one.after for one in found.answers) == pytest.approx(1)
    assert found.drift_reason == "the rows that the model was tested on are not at hand"


def test_rows_with_more_wrong_labels_are_worse(bundle: Bundle, own: dict[str, Any], tmp_path: Path) -> None:
    found = measure(bundle, own, tmp_path / "noisy.csv", rows(600, seed=2, noise=0.4))
    assert found.metrics["accuracy"].worse
    assert found.metrics["log_loss"].difference is not None
    assert found.metrics["log_loss"].difference < 0, "turned: above zero is better"


def test_what_cannot_be_read_is_counted_and_stops_nothing(bundle: Bundle, own: dict[str, Any], tmp_path: Path) -> None:
    odd = rows(60, seed=3)
    odd[0]["price"] = "cheap"
    odd[1]["angry"] = "furious"
    odd[2]["angry"] = ""
    for name in ("message", "city", "price", "day"):
        odd[3][name] = ""
    for row in odd:
        row["colour"] = "red"
    found = measure(bundle, own, tmp_path / "odd.csv", odd)
    assert (found.num_rows, found.num_answered, found.refused) == (60, 58, {"": 1, "price": 1})
    assert (found.num_labelled, found.num_unknown, found.num_unlabelled) == (56, 1, 1)
    assert found.unread_columns == ("colour",)
    assert Shift.model_validate_json(json.dumps(found.to_json(), allow_nan=False)) == found


def test_a_file_without_labels_shows_answers_alone(bundle: Bundle, own: dict[str, Any], tmp_path: Path) -> None:
    bare = [{name: row[name] for name in ("message", "city")} for row in rows(50)]
    found = measure(bundle, own, tmp_path / "bare.csv", bare)
    assert (found.labelled, found.metrics, found.num_unknown) == (False, {}, 0)
    assert found.missing_columns == ("price", "day")
    assert found.answers
    assert found.confidence is not None
    assert "no labels" in markdown(found, "chats")


def test_labels_that_are_all_unknown_and_one_row(bundle: Bundle, own: dict[str, Any], tmp_path: Path) -> None:
    strange = [{**row, "angry": "furious"} for row in rows(20)]
    found = measure(bundle, own, tmp_path / "strange.csv", strange)
    assert (found.num_labelled, found.num_unknown, found.metrics) == (0, 20, {})
    one = measure(bundle, own, tmp_path / "one.csv", rows(9)[:1])
    assert one.metrics["accuracy"].after.value in (0.0, 1.0)
    assert one.metrics["roc_auc"].reason
    markdown(one, "chats")


def test_a_file_of_another_kind_is_refused(bundle: Bundle, own: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="must have the input columns message"):
        measure(bundle, own, tmp_path / "other.csv", [{"mesage": "x", "b": "y"}])
    (tmp_path / "empty.csv").write_text("message,city,angry\n", "utf-8")
    with pytest.raises(DataError, match="no row"):
        shift(bundle, open_path(str(tmp_path / "empty.csv")), "empty", Original(own), CONFIG, 0)


def test_numbers_have_figures_in_their_unit_and_no_shares(tmp_path: Path) -> None:
    regression = tmp_path / "numbers"
    regression.mkdir()
    lines = ["size,price"] + [f"{i % 50},{(i % 50) * 3 + i % 7}" for i in range(300)]
    (regression / "rows.csv").write_text("\n".join(lines), "utf-8")
    (regression / "luban.yaml").write_text(
        "name: n\ndata: {source: rows.csv, target: price, columns: {size: number, price: number}}\n"
        "train: {models: [linear], num_threads: 1}\n",
        "utf-8",
    )
    trained, evaluated = make(regression)
    moved = tmp_path / "moved.csv"
    moved.write_text("size,price\n" + "\n".join(f"{i},{i * 3 + 100}" for i in range(50)), "utf-8")
    found = shift(Bundle.load(trained.bundle), open_path(str(moved)), "moved", Original(evaluated.report), CONFIG, 0)
    assert found.metrics["mae"].after.value == pytest.approx(97, abs=3)
    assert found.metrics["rmse"].worse
    assert (found.answers, found.confidence) == ((), None)


def test_an_interval_of_two_sets_of_rows_holds_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        sides = []
        for share, n in ((0.9, 300), (0.8, 200)):
            hits = rng.binomial(n, share) / n
            half = 1.96 * np.sqrt(hits * (1 - hits) / n)
            sides.append(Estimate(value=hits, low=hits - half, high=hits + half, higher_is_better=True))
        found = beside(sides[0].model_dump(), sides[1])
        assert found.low is not None
        assert found.high is not None
        held += found.low <= -0.1 <= found.high
    assert held / 400 == pytest.approx(0.95, abs=0.03)


def test_figures_without_intervals_are_set_beside_all_the_same() -> None:
    bare = Estimate(value=0.5, higher_is_better=True, reason="too long")
    assert beside(bare.model_dump(), bare) == Beside(before=bare, after=bare, difference=0.0, reason="too long")
    assert beside(None, bare).reason == "the model's own figure is not at hand"
    none = Estimate(value=None, higher_is_better=True, reason="one class")
    assert beside(bare.model_dump(), none).reason == "too long"


def moved(kind: str, before: pa.Array, after: pa.Array) -> dict[str, Drift]:
    sides = [lambda name, side=side: iter([side]) for side in (before, after)]
    return {one.by: one for one in drift([Column(name="a", type=kind)], *sides)}  # type: ignore[arg-type]


def test_drift_of_numbers_values_texts_and_gaps() -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(size=3000)
    same, far = (
        moved("number", pa.array(base), pa.array(rng.normal(size=2000))),
        moved("number", pa.array(base), pa.array([None if i % 3 == 0 else float(v) for i, v in enumerate(base + 1)])),
    )
    assert same["value"].verdict == "none"
    assert far["value"].verdict == far["missing"].verdict == "large"
    assert far["value"].after == pytest.approx(1, abs=0.1)
    assert (far["missing"].before, far["missing"].after) == (0, pytest.approx(1 / 3, abs=0.01))
    values = moved("category", pa.array(["a", "b"] * 500), pa.array(["a", "c"] * 500))
    assert values["value"].new_values == 0.5
    assert values["value"].verdict == "large"
    texts = moved("text", pa.array(["some words here"] * 200), pa.array(["很短"] * 200))
    assert texts["length"].verdict == texts["cjk"].verdict == "large"


def test_chance_in_a_few_rows_is_not_called_drift() -> None:
    rng = np.random.default_rng(0)
    calm = [moved("number", pa.array(rng.normal(size=40)), pa.array(rng.normal(size=40)))["value"] for _ in range(60)]
    assert sum(one.stability > 0.25 for one in calm) > 10, "the index alone cries wolf"
    assert sum(one.verdict != "none" for one in calm) <= 6


@pytest.mark.parametrize("side", [pa.array([], pa.float64()), pa.array([None, None], pa.float64())])
def test_nothing_to_compare_is_no_drift(side: pa.Array) -> None:
    found = moved("number", pa.array([1.0, 2.0]), side)
    assert "value" not in found


def call(*words: str, given: str | None = None) -> Any:
    return CliRunner().invoke(app, ["evaluate", *words], input=given)


def test_the_command_measures_what_is_trained_then_what_is_released(folder: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "other.csv", rows(300, seed=5))
    out = tmp_path / "found.md"
    done = call("--project", str(folder), "--data", str(other), "--out", str(out))
    assert done.exit_code == 0, done.output
    assert "accuracy" in done.output
    text = out.read_text("utf-8")
    assert text.startswith("# chats on other.csv")
    assert "## Drift of the inputs" in text
    made = tmp_path / "found.json"
    done = call("--project", str(folder), "--data", str(other), "--out", str(made), "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(made.read_text("utf-8"))
    assert json.loads(done.stdout.splitlines()[-1])["metrics"] == found["metrics"]
    assert found["drift"]
    assert not [one for one in found["drift"] if one["verdict"] == "large" and one["column"] != "day"]


def test_rows_that_it_learnt_from_are_recognised(folder: Path, tmp_path: Path) -> None:
    learnt = rows(900)[:100] + rows(50, seed=9)
    done = call("--project", str(folder), "--data", str(write(tmp_path / "mixed.csv", learnt)), "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout.splitlines()[-1])
    assert 45 < found["num_learnt"] < 85, "all but those that were test rows"
    assert found["num_rows"] == 150


def test_a_bundle_alone_is_measured_without_a_project(folder: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "other.csv", rows(100, seed=5))
    done = call("--bundle", str(make(folder)[0].bundle), "--data", str(other), "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["metrics"]["accuracy"]["reason"] == "the model's own figure is not at hand"
    assert found["drift_reason"]


def test_options_that_go_with_data_are_refused_alone(folder: Path, tmp_path: Path) -> None:
    done = call("--project", str(folder), "--out", str(tmp_path / "x.md"))
    assert "--out and --bundle go with --data" in str(done.exception)
    done = call("--project", str(folder), "--data", "x.csv", "--out", str(tmp_path / "x.txt"))
    assert "--out must end in .md or .json" in str(done.exception)
