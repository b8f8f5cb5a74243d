"""Tables: `auto` beside the better of a linear model and histogram boosting by scikit-learn, on the same rows.

    python -m benchmarks.tables [TABLE …] [--seeds 5] [--budget-s 60] [--quick] [--more]

Five tables of R's package mlbench, as Debian ships it, and breast cancer from scikit-learn's wheel. Chosen before
anything was measured, for being unlike: LetterRecognition (20,000 rows, 26 classes: far from linear),
Vehicle (846 rows, 4 classes: no peer is far ahead), PimaIndiansDiabetes2 (652 missing numbers, much noise),
HouseVotes84 (categories only, 392 missing), BostonHousing (a number is predicted). `--more` adds others.

Each is initialised by `luban init --data`, so that types are Luban's own guesses, and trained by `luban train` with a
budget of seconds; for each seed another split. Peers get the types that R states; the linear one (logistic
or ridge regression, C or alpha 1) the median for a missing number, numbers standardised, categories one-hot with
missing as one of them; the boosting, with its defaults, numbers and codes with missing values as they are. They
are fitted on training and validation rows. They are compared with the peer that is better on the
test rows, which favours the peer.

`score` is accuracy, or R² of a predicted number; `difference` is Luban's less the peer's on the same rows, its interval
from resampling rows over all seeds; `below` says that the whole interval is below 0.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import warnings
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.figures import emit, mean_interval
from benchmarks.peers import asked, peer_python
from benchmarks.projects import Made, luban, made, one_row
from luban.bundle.bundle import Bundle
from luban.data.dataset import ROW_ID
from luban.data.sources.index import Index, Pin, fetched

NAME = "tables"
PACKAGE = Pin(
    Index.DEBIAN,
    "r-cran-mlbench",
    "2.1-3-1",
    "sdist",
    "2f1127f7b5e7d08703b13b52ef1976a0c355a7660d6ac575e29b87b13921bc06",
)
DATA = "usr/lib/R/site-library/mlbench/data"
CANCER = "breast-cancer"
TABLES = {
    "LetterRecognition": "lettr",
    "Vehicle": "Class",
    "PimaIndiansDiabetes2": "diabetes",
    "HouseVotes84": "Class",
    "BostonHousing": "medv",
    CANCER: "benign",
}
OTHERS = {
    "Satellite": "classes",
    "Sonar": "Class",
    "Ionosphere": "Class",
    "Glass": "Type",
    "Vowel": "Class",
    "DNA": "Class",
    "Soybean": "Class",
    "Servo": "Class",
}


@dataclass(frozen=True)
class Answers:
    """Scores of single rows (their mean is accuracy or R²) and losses, [M] by model; the rows' ids."""

    ids: list[str]
    score: dict[str, np.ndarray]
    loss: dict[str, np.ndarray]


def peers(numbers: list[str], categories: list[str], regression: bool) -> dict[str, Any]:
    """The two peers, unfitted, for rows as `matrix` makes them."""
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

    first, rest = slice(0, len(numbers)), slice(len(numbers), None)
    filled = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan, encoded_missing_value=np.nan)
    present = [bool(numbers), bool(categories)]
    parts = {
        "linear": [(filled, first), (OneHotEncoder(handle_unknown="ignore"), rest)],
        "boosting": [("passthrough", first), (codes, rest)],
    }
    columns = {name: make_column_transformer(*compress(both, present)) for name, both in parts.items()}
    kinds = [False] * len(numbers) + [True] * len(categories)
    if regression:
        models = Ridge(), HistGradientBoostingRegressor(categorical_features=kinds, random_state=0)
    else:
        models = (
            LogisticRegression(max_iter=5000),
            HistGradientBoostingClassifier(categorical_features=kinds, random_state=0),
        )
    return {name: make_pipeline(columns[name], model) for name, model in zip(columns, models, strict=True)}


def matrix(rows: list[dict[str, Any]], numbers: list[str], categories: list[str]) -> np.ndarray:
    """Rows [B, D] of objects: numbers as float (missing NaN), then categories as text (missing None)."""
    found = np.empty((len(rows), len(numbers) + len(categories)), object)
    for at, name in enumerate(numbers):
        found[:, at] = [float(row[name]) if row[name] is not None else np.nan for row in rows]
    for at, name in enumerate(categories, len(numbers)):
        found[:, at] = [str(row[name]) if row[name] is not None else None for row in rows]
    return found


def answered(project: Made, bundle: Bundle, stated: list[str] | None) -> Answers:
    """Luban's and the peers' answers to the test rows. `stated`: the columns that are numbers, None for all."""
    inputs = [column.name for column in project.dataset.schema.inputs]
    numbers = [name for name in inputs if stated is None or name in stated]
    categories = [name for name in inputs if name not in numbers]
    learnt, test = project.rows("train", "valid"), project.rows("test")
    truth = [row[project.target] for row in test]
    told = bundle.predict([{name: row[name] for name in inputs} for row in test]).columns
    x, x_test = matrix(learnt, numbers, categories), matrix(test, numbers, categories)
    regression = bundle.manifest.task.kind == "regression"
    y = np.array([row[project.target] for row in learnt])
    fitted = {name: model.fit(x, y) for name, model in peers(numbers, categories, regression).items()}
    ids = [row[ROW_ID] for row in test]
    if regression:
        values = {"luban": np.array(told["value"])} | {n: model.predict(x_test) for n, model in fitted.items()}
        return of_numbers(ids, np.array(truth, float), values)
    names = [str(name) for name in fitted["linear"].classes_]
    shares = {"luban": np.array([told[f"probability_{name}"] for name in names]).T}
    shares |= {name: model.predict_proba(x_test) for name, model in fitted.items()}
    return of_classes(ids, np.array([names.index(str(name)) for name in truth]), shares)


def of_numbers(ids: list[str], truth: np.ndarray, values: dict[str, np.ndarray]) -> Answers:
    """Scores whose mean is R², and squared errors."""
    loss = {name: (answers - truth) ** 2 for name, answers in values.items()}
    return Answers(ids, {name: 1 - errors / np.var(truth) for name, errors in loss.items()}, loss)


def of_classes(ids: list[str], truth: np.ndarray, shares: dict[str, np.ndarray]) -> Answers:
    """Whether the likeliest class is the true one, and the true one's -log probability (at most that of 1e-6)."""
    score = {name: (p.argmax(axis=1) == truth).astype(float) for name, p in shares.items()}
    loss = {name: -np.log(np.maximum(p[np.arange(len(truth)), truth], 1e-6)) for name, p in shares.items()}
    return Answers(ids, score, loss)


def project_of(table: str, target: str, folder: Path) -> list[str] | None:
    """Initialise the table's project in `folder`; gives the columns that are numbers, None for all."""
    if table == CANCER:
        luban("init", folder, "--template", CANCER)
        return None
    csv = folder.parent / f"{table}.csv"
    rda = fetched(PACKAGE) / DATA / f"{table}.rda"
    asked([peer_python("rdata==1.1.0"), Path(__file__).with_name("tables_rda.py"), rda, csv])
    luban("init", folder, "--data", csv, "--target", target)
    numbers: list[str] = json.loads(csv.with_suffix(".json").read_text("utf-8"))["numbers"]
    return numbers


def measure(table: str, target: str, seeds: int, budget_s: float) -> None:
    """One line a seed of what was chosen, and one of the table over all seeds."""
    found: list[Answers] = []
    costs: list[dict[str, float]] = []
    for seed in range(seeds):
        with tempfile.TemporaryDirectory() as beside:
            folder = Path(beside) / "project"
            numbers = project_of(table, target, folder)
            project = made(folder, "train", [f"seed={seed}", f"train.time_budget_s={budget_s:g}"])
            bundle = Bundle.load(project.bundle)
            answers = answered(project, bundle, numbers)
            inputs = [column.name for column in project.dataset.schema.inputs]
            rows = [{name: row[name] for name in inputs} for row in project.rows("test")[:200]]
        found.append(answers)
        costs.append(one_row(bundle, rows, 500))
        tell_seed(table, seed, project, answers)
    tell_table(table, found, {name: max(cost[name] for cost in costs) for name in costs[0]})


def tell_seed(table: str, seed: int, project: Made, answers: Answers) -> None:
    """What was chosen among what, how long it took, and the scores."""
    board = {row["name"]: row["loss"] for row in project.report["leaderboard"] if row["status"] == "trained"}
    emit(
        NAME,
        "seed",
        table=table,
        seed=seed,
        chosen=project.report["chosen"],
        train_s=round(project.seconds, 1),
        **{name: round(float(rows.mean()), 4) for name, rows in answers.score.items()},
        validation_losses={name: round(loss, 4) for name, loss in board.items()},
    )


def tell_table(table: str, found: list[Answers], cost: dict[str, float]) -> None:
    """Luban beside the better peer, all seeds together; one row's time is that of the slowest bundle."""
    ids = [row for answers in found for row in answers.ids]
    score, loss = (
        {name: np.concatenate([getattr(answers, what)[name] for answers in found]) for name in found[0].score}
        for what in ("score", "loss")
    )
    better = max(("linear", "boosting"), key=lambda name: float(score[name].mean()))
    gain = score["luban"] - score[better]
    interval = mean_interval(gain, ids)
    surer = min(("linear", "boosting"), key=lambda name: float(loss[name].mean()))
    emit(
        NAME,
        "table",
        table=table,
        seeds=len(found),
        **{name: round(float(rows.mean()), 4) for name, rows in score.items()},
        better_peer=better,
        difference=round(float(gain.mean()), 4),
        interval=interval,
        below=interval[1] < 0,
        loss=round(float(loss["luban"].mean()), 4),
        least_peer_loss=round(float(loss[surer].mean()), 4),
        less_loss=mean_interval(loss[surer] - loss["luban"], ids),
        **cost,
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tables")
    parser.add_argument("tables", nargs="*", choices=("all", *TABLES, *OTHERS), default="all", help="these alone")
    parser.add_argument("--seeds", type=int, default=5, help="how many splits")
    parser.add_argument("--budget-s", type=float, default=60, help="seconds of training")
    parser.add_argument("--quick", action="store_true", help="one seed, 5 s of training, the small tables")
    parser.add_argument("--more", action="store_true", help="other tables of the package too")
    asked_for = parser.parse_args()
    warnings.filterwarnings("ignore", category=UserWarning, module="sklearn")  # a class that training rows lack
    known = TABLES | OTHERS
    chosen = known if asked_for.more else TABLES
    names = list(chosen) if "all" in asked_for.tables else asked_for.tables
    if asked_for.quick:
        names = [name for name in names if name != "LetterRecognition"]
        asked_for.seeds, asked_for.budget_s = 1, 5
    for name in names:
        measure(name, known[name], asked_for.seeds, asked_for.budget_s)


if __name__ == "__main__":
    main()
