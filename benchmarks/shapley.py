"""Shapley values: how many times faster than `shap.KernelExplainer` at the same error to the exact values.

    python -m benchmarks.shapley [--rows 12] [--repeats 3] [--quick]

Two bundles: `table` (breast cancer, 16 columns of numbers, boosted trees) and `texts` (the Chinese reviews of the
demo, texts of 13 to 16 words and characters, a vote of linear models); --quick takes the table alone. For each row the
exact values come from all coalitions, 65,536 for 16 parts. Both methods run in one process, in turn, in an
environment that has shap, and ask the same function (`shapley_peer.py`). For each number of samples that
KernelExplainer is given (2,080 is its own choice for 16 parts), `at_coalitions` is the least that Luban needs for no
larger error over all rows, and `times_faster` the mean time of the one over that of the other, its interval from
resampling rows. Exit status 1 if that is below 5 on the table at KernelExplainer's own choice. Errors are roots of mean
squares over parts and rows, as a share of the exact values' deviation.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.figures import bounds, emit
from benchmarks.peers import ONE_THREAD, ROOT, peer_python
from benchmarks.projects import demo, made
from luban.bundle.bundle import Bundle

NAME, PARTS = "shapley", (13, 16)
PEER = (
    "shap==0.51.0",
    *(
        f"{name}=={version(name)}"
        for name in ("onnxruntime", "onnx", "pyarrow", "pydantic", "safetensors", "ftfy", "fsspec", "PyYAML")
    ),
)
SAMPLES = (512, 1024, 2080, 4096, 8192)
COALITIONS = (64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048)
RESAMPLES = 2000


def table(count: int) -> tuple[Path, list[dict[str, Any]]]:
    """A bundle of trees over 16 columns of scikit-learn's breast cancer, and test rows."""
    from sklearn.datasets import load_breast_cancer

    found = load_breast_cancer()
    columns = [*range(10), *range(20, 26)]
    folder = Path(tempfile.mkdtemp(prefix="luban-shapley-"))
    with (folder / "cancer.csv").open("w", newline="", encoding="utf-8") as out:
        lines = csv.writer(out)
        lines.writerow([*(found.feature_names[i].replace(" ", "_") for i in columns), "diagnosis"])
        for row, target in zip(found.data, found.target, strict=True):
            lines.writerow([*row[columns].tolist(), found.target_names[target]])
    project = "name: cancer\nowner: benchmarks\npurpose: Be explained.\n"
    project += "data: {source: cancer.csv, target: diagnosis}\ntrain: {models: [trees], num_threads: 1}\n"
    (folder / "luban.yaml").write_text(project, "utf-8")
    trained = made(folder, "train", [])
    names = [column.name for column in trained.dataset.schema.inputs]
    return trained.bundle, [{name: row[name] for name in names} for row in trained.rows("test")[:count]]


def texts(count: int) -> tuple[Path, list[dict[str, Any]]]:
    """The demo's bundle, and test rows of 13 to 16 parts."""
    trained = made(demo(), "train", [])
    feature = Bundle.load(trained.bundle).preprocess.features["text"]
    found: list[dict[str, Any]] = []
    for size in range(PARTS[0], PARTS[1] + 1):
        fit = [row["text"] for row in trained.rows("test") if len(feature.parts(row["text"]).names) == size]
        found += [{"text": text} for text in fit[: max(count // 4, 1)]]
    return trained.bundle, found


def answers(bundle: Path, rows: list[dict[str, Any]], repeats: int) -> Iterator[dict[str, Any]]:
    """What the peer's side prints, row by row."""
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
        json.dump(rows, file)
        file.flush()
        command = [peer_python(*PEER), Path(__file__).with_name("shapley_peer.py"), bundle, file.name, repeats]
        environment = {**os.environ, **ONE_THREAD, "PYTHONPATH": str(ROOT / "src")}
        asked = [*map(str, command), *map(str, SAMPLES), "/", *map(str, COALITIONS)]
        with subprocess.Popen(asked, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=environment) as process:
            assert process.stdout is not None
            for line in process.stdout:
                yield json.loads(line)
    if process.returncode:
        raise SystemExit(f"shapley_peer.py ended with status {process.returncode}")


def report(what: str, rows: list[dict[str, Any]]) -> bool:
    """Print a line for each number of samples; True if Luban is five times faster or more at shap's own choice."""
    error, seconds = (
        {m: np.array([np.mean(np.square(row["methods"][m][of])) if of == "error" else np.mean(row["methods"][m][of])
                      for row in rows]) for m in rows[0]["methods"]}
        for of in ("error", "seconds")
    )  # fmt: skip
    deviation = float(np.sqrt(np.mean([row["deviation"] ** 2 for row in rows])))
    drawn = np.random.default_rng(0).integers(0, len(rows), (RESAMPLES, len(rows)))
    enough = True
    for samples in SAMPLES:
        peer = f"shap {samples}"
        reached = [c for c in COALITIONS if error[f"luban {c}"].mean() <= error[peer].mean()]
        if not reached:
            emit(NAME, what, samples=samples, at_coalitions=None, shap_error=_share(error[peer], deviation))
            enough = enough and samples != 2080
            continue
        own = f"luban {reached[0]}"
        ratios = seconds[peer][drawn].mean(axis=1) / seconds[own][drawn].mean(axis=1)
        emit(
            NAME,
            what,
            samples=samples,
            at_coalitions=reached[0],
            times_faster=round(float(seconds[peer].mean() / seconds[own].mean()), 1),
            interval=bounds(ratios, 1),
            shap_error=_share(error[peer], deviation),
            luban_error=_share(error[own], deviation),
            shap_ms=round(float(seconds[peer].mean()) * 1e3, 1),
            luban_ms=round(float(seconds[own].mean()) * 1e3, 1),
            rows=len(rows),
        )
        enough = enough and (samples != 2080 or bounds(ratios)[0] >= 5)
    return enough


def _share(squares: np.ndarray, deviation: float) -> float:
    return round(float(np.sqrt(squares.mean())) / deviation, 4)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.shapley")
    parser.add_argument("--rows", type=int, default=12, help="rows of each bundle")
    parser.add_argument("--repeats", type=int, default=3, help="with other random coalitions")
    parser.add_argument("--quick", action="store_true", help="four rows of the table alone")
    asked = parser.parse_args()
    rows, repeats = (4, 1) if asked.quick else (asked.rows, asked.repeats)
    enough = True
    for what, make in {"table": table, **({} if asked.quick else {"texts": texts})}.items():
        bundle, given = make(rows)
        fast = report(what, list(answers(bundle, given, repeats)))
        enough = enough and (fast or what != "table")
    return 0 if enough or asked.quick else 1


if __name__ == "__main__":
    sys.exit(main())
