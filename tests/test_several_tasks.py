"""Tags, ordered classes and rare classes through the whole line: files in, gates, reports, files and HTTP out."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from luban import lifecycle
from luban.bundle.bundle import Bundle
from luban.catalog import SINKS, SOURCES
from luban.errors import ConfigError, DataError
from luban.evaluate.report import Report
from luban.project import load_project
from luban.serve.config import ServeConfig
from luban.serve.fleet.origins import FolderOrigin
from luban.serve.jobs.batch import predict_file
from luban.serve.server import serving
from luban.train.run import choose_task
from luban.workshop import Workshop

pytest.importorskip("sklearn")
WORDS = {
    "broken": ["cracked", "snapped", "dead"],
    "late": ["slow", "delay", "waiting"],
    "rude": ["unkind", "shouted", "harsh"],
}
SHARES = {"broken": 0.3, "late": 0.45, "rude": 0.2}


def told(rows: int = 260) -> list[tuple[str, list[str]]]:
    """Texts and what they are about, nothing at all in a third of them."""
    draw = random.Random(3)
    found = []
    for number in range(rows):
        topics = [topic for topic in WORDS if draw.random() < SHARES[topic]]
        words = [draw.choice(WORDS[topic]) for topic in topics for _ in range(2)]
        words += draw.choices(["parcel", "shop", "order", "thing", "box"], k=3)
        found.append((f"{' '.join(words)} {number}", topics))
    return found


def project(folder: Path, source: str, target: str, more: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    text = (
        f"name: parcels\nowner: ada\npurpose: Sort letters.\ndata: {{source: {source}, target: {target}}}\n"
        f"prepare: {{split: {{valid: 0.2, test: 0.3}}}}\n{more}"
    )
    if "train:" not in more:
        text += "train: {models: [linear], num_threads: 1}\n"
    (folder / "luban.yaml").write_text(text, "utf-8")
    return folder


def run(folder: Path, *sets: str, force: str | None = None) -> tuple[lifecycle.Outcome, Path]:
    opened, where = load_project(folder, sets)
    with Workshop.open(opened, where).working() as shop:
        outcome = lifecycle.run(shop, force)
        return outcome, shop.home.store.fetch(outcome.version.tree)


def write_csv(path: Path, rows: list[tuple[str, list[str]]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "topics"])
        writer.writerows([text, "; ".join(topics)] for text, topics in rows)


@pytest.fixture(scope="module")
def letters(tmp_path_factory: pytest.TempPathFactory) -> tuple[lifecycle.Outcome, Path]:
    folder = project(tmp_path_factory.mktemp("tags") / "p", "rows.csv", "topics")
    write_csv(folder / "rows.csv", told())
    return run(folder)


def test_tags_are_found_and_released(letters: tuple[lifecycle.Outcome, Path]) -> None:
    outcome, folder = letters
    assert {c.name: c.type for c in outcome.dataset.schema.columns} == {"text": "text", "topics": "tags"}
    assert outcome.dataset.num_rows == 260, "rows without tags are rows"
    found = outcome.evaluation
    assert (found["task"], found["first_metric"]) == ("tags", "f1_micro")
    assert found["metrics"]["f1_micro"]["value"] > 0.9
    assert found["metrics"]["f1_micro"]["low"] is not None
    assert found["others"]["baseline"]["f1_micro"]["value"] > 0.3, "a baseline that gives nothing would be no rival"
    assert [one["label"] for one in found["classes"]] == ["broken", "late", "rude"]
    assert found["confusion"] is None
    gates = {gate["code"]: gate["status"] for gate in json.loads((folder / "reports/report.json").read_text())["gates"]}
    assert {gates[code] for code in ("G001", "G002", "G003", "G004", "G006")} == {"passed"}
    rows = Bundle.load(folder).predict([{"text": "cracked and snapped, waiting"}, {"text": "a box"}, {}]).rows()
    assert set(rows[0]["tags"]) == {"broken", "late"}
    assert rows[1]["tags"] == []
    assert "error" in rows[2]


def test_the_same_lists_from_anywhere_are_the_same_dataset(
    letters: tuple[lifecycle.Outcome, Path], tmp_path: Path
) -> None:
    as_text = letters[0].dataset.values("topics")
    rows = told()
    (tmp_path / "a").mkdir()
    lines = (json.dumps({"text": text, "topics": topics}) for text, topics in rows)
    (tmp_path / "a" / "rows.jsonl").write_text("\n".join(lines), "utf-8")
    (tmp_path / "b").mkdir()
    lists = pa.table({"text": [text for text, _ in rows], "topics": [topics for _, topics in rows]})
    pq.write_table(lists, tmp_path / "b" / "rows.parquet")
    for name, file in (("a", "rows.jsonl"), ("b", "rows.parquet")):
        opened, where = load_project(project(tmp_path / name, file, "topics"))
        with Workshop.open(opened, where).working() as shop:
            dataset = lifecycle.prepare(shop)
        assert dataset.schema["topics"].type == "tags", name
        # an empty cell is null and an empty list is a list: both are rows without tags
        assert [value or None for value in dataset.values("topics")] == [value or None for value in as_text], name


def test_answers_in_files(letters: tuple[lifecycle.Outcome, Path], tmp_path: Path) -> None:
    bundle = Bundle.load(letters[1])
    (tmp_path / "new.csv").write_text("text\nslow and cracked\na box\n,\n", "utf-8")
    source = SOURCES.make("csv", {"path": str(tmp_path / "new.csv")})
    shown: dict[str, Any] = {}
    for kind, suffix in (("csv", "csv"), ("jsonl", "jsonl"), ("parquet", "parquet"), ("excel", "xlsx")):
        path = tmp_path / f"answers.{suffix}"
        predict_file(bundle, source, SINKS.make(kind), str(path))
        shown[kind] = path
    with shown["csv"].open(encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert sorted(lines[0]["tags"].split("; ")) == ["broken", "late"]
    assert lines[1]["tags"] == ""
    first = json.loads(shown["jsonl"].read_text().splitlines()[0])
    assert sorted(first["tags"]) == ["broken", "late"]
    assert sorted(pq.read_table(shown["parquet"])["tags"].to_pylist()[0]) == ["broken", "late"]
    sheet = SOURCES.make("excel", {"path": str(shown["excel"])})
    (batch,) = list(sheet.read())
    assert sorted(batch.rows.column("tags").to_pylist()[0].split("; ")) == ["broken", "late"]


def test_answers_over_http(letters: tuple[lifecycle.Outcome, Path]) -> None:
    with serving(FolderOrigin(letters[1]), ServeConfig(port=0), {}) as address:
        asked = {"rows": [{"text": "slow and cracked"}], "options": {"threshold": 1.0}}
        answers = httpx.post(f"{address}/v1/predict", json=asked).json()["answers"]
        schema = httpx.get(f"{address}/openapi.json").json()["components"]["schemas"]
    assert answers[0]["tags"] == []
    assert schema["Answer"]["properties"]["tags"] == {"type": ["array", "null"], "items": {"type": "string"}}
    assert schema["Answer"]["properties"]["probability_late"] == {"type": ["number", "null"]}
    assert "threshold" in schema["Options"]["properties"]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_reports_of_tags(letters: tuple[lifecycle.Outcome, Path], language: Any) -> None:
    kept = Report.model_validate_json((letters[1] / "reports/report.json").read_bytes())
    report = kept.model_copy(update={"language": language})
    figure = f"{report.evaluation['metrics']['f1_micro']['value']:.3f}"
    for text in (report.to_html(), report.to_markdown()):
        assert figure in text
        assert "broken" in text
    assert figure in report.view.verdict


def test_tags_as_an_input(tmp_path: Path) -> None:
    more = "train: {models: [linear, {kind: trees, max_rounds: 50}, vote], num_threads: 1, refit: false}\n"
    folder = project(tmp_path, "rows.jsonl", "angry", more)
    draw = random.Random(1)
    lines = []
    for _ in range(240):
        tags = [tag for tag in ("late", "rude", "gift", "web") if draw.random() < 0.4]
        lines.append({"tags": tags, "days": draw.randrange(9), "angry": "yes" if "rude" in tags else "no"})
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, lines)), "utf-8")
    outcome, released = run(folder)
    assert outcome.dataset.schema["tags"].type == "tags"
    assert outcome.evaluation["metrics"]["accuracy"]["value"] == 1.0
    bundle = Bundle.load(released)
    rows = [{"tags": ["rude", "web"], "days": 1}, {"tags": "late; gift", "days": 1}, {"tags": [], "days": 2}]
    assert [row["label"] for row in bundle.predict(rows).rows()] == ["yes", "no", "no"]
    with serving(FolderOrigin(released), ServeConfig(port=0), {}) as address:
        asked = {"rows": [rows[0], {"tags": ["late"], "days": [1]}, {"tags": [["late"]], "days": 1}]}
        answers = httpx.post(f"{address}/v1/predict", json=asked).json()["answers"]
        schemas = httpx.get(f"{address}/openapi.json").json()["components"]["schemas"]
    assert answers[0]["label"] == "yes"
    assert answers[1]["error"].startswith("days: must be text, a number")
    assert answers[2]["error"].startswith("tags: holds a list")
    column = schemas["Row"]["properties"]["tags"]
    assert column["type"] == ["array", "string", "null"]


def stars(folder: Path, words: bool) -> None:
    draw = random.Random(2)
    names = ["bad", "fair", "good", "great"] if words else ["1", "2", "3", "4"]
    with (folder / "rows.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["warmth", "noise", "grade"])
        for _ in range(320):
            warmth = draw.gauss(0, 1)
            rank = min(3, max(0, int(1.5 + warmth * 1.2 + draw.gauss(0, 0.4))))
            writer.writerow([round(warmth, 3), round(draw.gauss(0, 1), 3), names[rank]])


ORDER = "task: {kind: ordinal, order: [bad, fair, good, great]}\n"


def test_ordered_words(tmp_path: Path) -> None:
    folder = project(tmp_path, "rows.csv", "grade", ORDER)
    stars(folder, words=True)
    outcome, released = run(folder)
    found = outcome.evaluation
    assert (found["task"], found["first_metric"]) == ("ordinal", "quadratic_kappa")
    assert found["metrics"]["quadratic_kappa"]["value"] > 0.6
    assert found["metrics"]["rank_mae"]["value"] < found["others"]["baseline"]["rank_mae"]["value"] / 2
    assert [one["label"] for one in found["classes"]] == ["bad", "fair", "good", "great"]
    assert found["confusion"]["labels"] == ["bad", "fair", "good", "great"]
    rows = Bundle.load(released).predict([{"warmth": w, "noise": 0} for w in (-3, 0, 3)]).rows()
    assert [rows[0]["label"], rows[2]["label"]] == ["bad", "great"]
    assert rows[0]["expected"] < rows[1]["expected"] < rows[2]["expected"]
    assert sum(v for k, v in rows[1].items() if k.startswith("probability_")) == pytest.approx(1)
    report = Report.model_validate_json((released / "reports/report.json").read_bytes())
    for language in ("en", "zh"):
        assert "great" in report.model_copy(update={"language": language}).to_html()


def test_ordered_numbers_need_no_order(tmp_path: Path) -> None:
    folder = project(tmp_path, "rows.csv", "grade", "task: ordinal\n")
    stars(folder, words=False)
    outcome, _ = run(folder)
    assert [one["label"] for one in outcome.evaluation["classes"]] == ["1", "2", "3", "4"]
    opened, where = load_project(folder, ["task=auto"])
    with Workshop.open(opened, where).working() as shop:
        assert choose_task(shop.project.task, lifecycle.prepare(shop)).kind == "multiclass", "auto never chooses it"


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ("ordinal", "The order of words is not guessed"),
        ("{kind: ordinal, order: [bad, good, great]}", "must name every class, but names 3"),
        ("{kind: ordinal, order: [bad, fair, good, super]}", "must name every class, but misses `great`"),
    ],
)
def test_an_order_that_is_not_known_is_an_error(tmp_path: Path, task: str, message: str) -> None:
    folder = project(tmp_path, "rows.csv", "grade", f"task: {task}\n")
    stars(folder, words=True)
    with pytest.raises(DataError, match=message):
        run(folder)


def test_a_class_of_the_order_without_rows(tmp_path: Path) -> None:
    order = "task: {kind: ordinal, order: [awful, bad, fair, good, great, divine]}\n"
    folder = project(tmp_path, "rows.csv", "grade", order)
    stars(folder, words=True)
    outcome, released = run(folder)
    assert outcome.evaluation["metrics"]["quadratic_kappa"]["value"] > 0.6
    row = Bundle.load(released).predict([{"warmth": -3, "noise": 0}]).rows()[0]
    assert row["label"] == "bad"
    assert row["probability_awful"] < 0.05
    assert row["probability_divine"] < 0.05


def rare(folder: Path) -> None:
    draw = random.Random(4)
    with (folder / "rows.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["a", "b", "fraud"])
        for _ in range(700):
            bad = draw.random() < 0.1
            writer.writerow(
                [round(draw.gauss(1.6 if bad else 0, 1), 3), round(draw.gauss(0, 1), 3), "yes" if bad else "no"]
            )


def recall(found: dict[str, Any]) -> float:
    return float(next(one["recall"] for one in found["classes"] if one["label"] == "yes"))


def test_rare_classes_are_found_and_probabilities_stay(tmp_path: Path) -> None:
    folder = project(tmp_path, "rows.csv", "fraud")
    rare(folder)
    plain, _ = run(folder, "release.gates=[parity]")
    assert plain.evaluation["first_metric"] == "accuracy"
    assert recall(plain.evaluation) < 0.6
    for kind in ("weights", "undersample"):
        outcome, released = run(folder, f"train.imbalance={kind}")
        found = outcome.evaluation
        assert found["first_metric"] == "balanced_accuracy"
        assert recall(found) > recall(plain.evaluation) + 0.1, kind
        assert found["comparisons"]["baseline"]["significant"]
        assert found["metrics"]["log_loss"]["value"] < found["others"]["baseline"]["log_loss"]["value"]
        threshold = Bundle.load(released).manifest.task.decoding["threshold"]
        assert 0.05 < threshold < 0.2, "about the share of the rare class"


def test_a_threshold_chosen_for_f1(tmp_path: Path) -> None:
    folder = project(tmp_path, "rows.csv", "fraud", "task: {kind: binary, threshold: f1}\n")
    rare(folder)
    outcome, released = run(folder)
    found = outcome.evaluation
    assert found["first_metric"] == "f1"
    decoding = Bundle.load(released).manifest.task.decoding
    assert 0 < decoding["threshold"] < 1
    assert decoding["aim"] == "f1"
    assert found["others"]["baseline"]["f1"]["value"] == pytest.approx(0.2, abs=0.1), "always yes"


def test_imbalance_is_refused_for_tags(tmp_path: Path) -> None:
    folder = project(tmp_path, "rows.csv", "topics")
    write_csv(folder / "rows.csv", told(120))
    with pytest.raises(ConfigError, match=r"train\.imbalance"):
        run(folder, "train.imbalance=weights")


def test_a_report_of_500_tags(letters: tuple[lifecycle.Outcome, Path]) -> None:
    import numpy as np

    from luban.evaluate.config import EvaluateConfig
    from luban.evaluate.evaluate import evaluate
    from luban.tasks.tags import Tags

    draw = np.random.default_rng(0)
    y = (draw.random((300, 500)) < 0.02).astype(np.float64)
    outputs = draw.normal(size=y.shape) + 4 * y - 3
    names = [f"tag {number}" for number in range(500)]
    decoding = {"classes": names, "temperature": 1.0, "temperatures": [1.0] * 500, "thresholds": [0.5] * 500}
    models = {"model": outputs, "baseline": np.full_like(outputs, -4)}
    found = evaluate(Tags(), decoding, y, models, 0, EvaluateConfig(num_resamples=100))
    assert found.metrics["f1_micro"].value is not None
    kept = Report.model_validate_json((letters[1] / "reports/report.json").read_bytes())
    evaluation = {**kept.evaluation, **found.to_json()}
    report = kept.model_copy(update={"evaluation": evaluation})
    pages: list[Callable[[], str]] = [report.to_html, report.to_markdown]
    for page in pages:
        assert len(page().encode()) < 2_000_000
