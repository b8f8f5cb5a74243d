"""The run report: seconds to write the page, and its size, for the demo and for 500 classes.

    python -m benchmarks.report [--runs 20] [--quick]

The demo's page is written again from what its release holds, without and with rows; `first` is the first call of the
process, template and imports included. For 500 classes the evaluation of made-up answers is measured by the same code
as any other (curves included), which is not in the figures, and written with errors to read. Allowed are 3 s and 2 MB.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.figures import emit, median, median_interval, seconds
from benchmarks.projects import demo
from luban.evaluate.config import EvaluateConfig
from luban.evaluate.curves import curves
from luban.evaluate.evaluate import evaluate
from luban.evaluate.findings import Findings
from luban.evaluate.report import Report
from luban.evaluate.scored import scored, truth_of
from luban.project import load_project
from luban.tasks.multiclass import Multiclass
from luban.workshop import Workshop

NAME = "report"
CLASSES = 500


def released(folder: Path) -> tuple[Report, dict[str, Any]]:
    """The report of the champion of the project in `folder`, and what its release holds of rows."""
    shop = Workshop.open(*load_project(folder))
    version = shop.registry.resolve(shop.project.name, "champion")
    reports = shop.home.store.fetch(version.tree) / "reports"
    rows = {name: reports / f"{name}.json" for name in ("errors", "explained")}
    found = {name: json.loads(path.read_bytes()) for name, path in rows.items() if path.exists()}
    return Report.model_validate_json((reports / "report.json").read_bytes()), found


def many_classes(rows: int) -> tuple[Report, dict[str, Any]]:
    """A report on made-up answers of 500 classes, and errors with long texts."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, CLASSES, rows)
    outputs = rng.normal(size=(rows, CLASSES))
    outputs[np.arange(rows), y] += 3
    names = [f"category number {number}" for number in range(CLASSES)]
    decoding = {"classes": names, "temperature": 1.0}
    task = Multiclass()
    models = {"model": outputs, "baseline": np.zeros_like(outputs)}
    found = evaluate(task, decoding, y, models, 0, EvaluateConfig(num_resamples=100)).to_json()
    answers = scored(task, decoding, truth_of(task, decoding, y, outputs), outputs)
    deep = Findings(curves=curves(answers, tuple(names), 0.95)).to_json()
    counts = np.bincount(y, minlength=CLASSES)
    data = {"rows": {"found": rows, "kept": rows}, "class_counts": dict(zip(names, counts.tolist(), strict=True))}
    report = Report(
        title="many classes",
        project={"name": "many"},
        data=data,
        training={"chosen": "linear", "leaderboard": [], "loss": "log loss"},
        evaluation={**found, **deep},
    )
    wrong = {
        "row_id": "0" * 32, "inputs": {"text": "a long text " * 25}, "truth": names[0], "answer": names[1],
        "confidence": 0.9, "truth_confidence": 0.1, "error": None,
    }  # fmt: skip
    errors = {
        "num_rows": rows,
        "num_wrong": rows // 3,
        "num_suspects": 20,
        "worst": [wrong] * 20,
        "suspects": [wrong] * 20,
    }
    return report, {"errors": errors}


def measure(what: str, report: Report, rows: dict[str, Any], runs: int) -> None:
    """Print a line for the page without and with rows."""
    for name, given in (("without rows", None), ("with rows", rows)):
        first = seconds(lambda given=given: report.to_html(given))
        taken = [seconds(lambda given=given: report.to_html(given)) for _ in range(runs)]
        size = len(report.to_html(given).encode())
        figures = {"first_s": round(first, 3), "median_s": median(taken, 3), "interval_s": median_interval(taken, 3)}
        emit(NAME, f"{what}, {name}", **figures, megabytes=round(size / 1e6, 3))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--quick", action="store_true")
    asked = parser.parse_args()
    runs = 3 if asked.quick else asked.runs
    measure("demo", *released(demo(asked.quick)), runs)
    measure(f"{CLASSES} classes", *many_classes(3_000 if asked.quick else 20_000), runs)


if __name__ == "__main__":
    main()
