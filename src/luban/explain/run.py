"""The verb `explain`: what a trained bundle looks at, for the report.

Decided here: methods that speak of the model see `max_rows` rows; those that speak of rows explain a few to read, and
are themselves measured (`faithfulness`) on some more. How many rows fit into the time is a decision, taken from the
time of a few. What holds values of rows is kept apart from what does not: the first is personal. It never looks at
test rows. The bundle may have been fitted again with the validation rows in it (`train.refit`): what is measured by the
truth is asked of the model as it was before that (`unseen`), and each method says which model it asked.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from luban.bundle.bundle import Bundle
from luban.catalog import EXPLAINERS, Choice
from luban.choices import OneOf
from luban.data.dataset import Dataset
from luban.explain.base import Case, Explainer, Json
from luban.explain.config import ExplainConfig
from luban.explain.faithfulness import faithfulness
from luban.explain.quantity import Quantity
from luban.explain.unseen import to_measure, to_read

AUTO: tuple[Json, ...] = ({"kind": "permutation"}, {"kind": "shapley", "exact_parts": 8, "coalitions": 256})
"""Enough coalitions for a report; `luban explain` asks more."""
MEASURED_TWICE = 4
"""Faithfulness takes about so many times as long as explaining: the row itself, its curves, and the random model's."""
PROTOCOL = 1


@dataclass(frozen=True)
class Explained:
    """`report` has figures alone; `rows` holds values of rows, None where no row was explained."""

    report: Json
    rows: Json | None


def explain_bundle(
    bundle: Bundle,
    dataset: Dataset,
    checkpoint: Path | None,
    seed: int,
    config: ExplainConfig,
    decide: Callable[[str, Callable[[], Any]], Any],
    step: Callable[[str, float], None],
) -> Explained:
    """Explain a bundle on validation rows; on training rows where there are no others.

    `checkpoint` is the folder that `train` or `compress` left.
    """
    methods = _methods(config)
    read = to_read(bundle, dataset, seed, config.max_rows, checkpoint) if methods else None
    found: list[Json] = []
    personal: list[Json] = []
    for number, choice in enumerate(methods):
        step(choice.kind, number / len(methods))
        assert read is not None
        explainer: Explainer = EXPLAINERS.resolve(choice.kind)(choice.config)
        asked = to_measure(read, dataset, config.max_rows) if explainer.measures else read
        reason = explainer.supports(asked.case.bundle, asked.case.checkpoint)
        if reason is not None:
            found.append({"method": choice.kind, "refused": reason})
            continue
        about = _of_model if explainer.explains == "model" else _of_rows
        report, rows = about(explainer, asked.case, config, decide)
        found.append({"method": choice.kind, "settings": choice.config.identity(), "model": asked.model, **report})
        personal += [{**row, "row_id": asked.ids[row["row"]]} if row.get("row") is not None else row for row in rows]
    split = "valid" if dataset.splits.get("valid") else "train"
    about_all = {"protocol": PROTOCOL, "split": split, "num_rows": len(read.ids) if read else 0, "seed": seed}
    rows_file = {**about_all, "model": read.model, "findings": personal} if read and personal else None
    return Explained({**about_all, "methods": found}, rows_file)


def _methods(config: ExplainConfig) -> Sequence[Choice]:
    if config.methods == "auto":
        return tuple(OneOf(EXPLAINERS).read(method) for method in AUTO)
    return config.methods


def _of_model(
    explainer: Explainer, case: Case, config: ExplainConfig, decide: Callable[[str, Callable[[], Any]], Any]
) -> tuple[Json, list[Json]]:
    """One finding about the model, from as many rows as fit into the time."""
    count = int(decide(f"rows:{explainer.kind}", lambda: _fitting(explainer, case, config)))
    (finding,) = explainer.explain(case.some(np.arange(min(count, len(case)))))
    return ({"rows": count}, [finding.to_json()]) if finding.personal else ({"finding": finding.to_json()}, [])


def _fitting(explainer: Explainer, case: Case, config: ExplainConfig) -> int:
    """Rows that a method about the model has time for, from how long a few take."""
    few = min(20, len(case))
    start = time.perf_counter()
    explainer.explain(case.some(np.arange(few)))
    taken = time.perf_counter() - start
    return max(few, min(len(case), int(few * config.seconds / max(taken, 1e-9))))


def _of_rows(
    explainer: Explainer, case: Case, config: ExplainConfig, decide: Callable[[str, Callable[[], Any]], Any]
) -> tuple[Json, list[Json]]:
    """Rows to read, and how far the method can be trusted on others."""
    chosen = _to_read(case, config.num_examples)
    start = time.perf_counter()
    findings = explainer.explain(case.some(chosen)) if len(chosen) else ()
    taken = time.perf_counter() - start
    rows = [{**finding.to_json(), "row": int(row)} for finding, row in zip(findings, chosen, strict=True)]
    report: Json = {"examples": len(rows), "additive": explainer.additive}
    if explainer.attributes and config.num_rows and len(chosen):
        each = taken / len(chosen) * MEASURED_TWICE
        room = lambda: int(min(config.num_rows, len(case), max(3, config.seconds / max(each, 1e-9))))  # noqa: E731
        count = int(decide(f"rows:{explainer.kind}", room))
        report["faithfulness"] = faithfulness(explainer, case.some(np.arange(min(count, len(case))))).to_json()
    return report, rows


def _to_read(case: Case, count: int) -> np.ndarray:
    """Positions of rows from the surest answer to the least sure (of numbers: from the largest down)."""
    good = case.good()
    if not count or not len(good):
        return np.zeros(0, np.int64)
    quantity = Quantity.of(case.bundle)
    columns = {name: [values[i] for i in good.tolist()] for name, values in case.values.columns.items()}
    outputs = case.bundle.run(case.bundle.encode(columns))
    figures = quantity.all(outputs)[np.arange(len(good)), quantity.answered(outputs)]
    order = np.argsort(-figures, kind="stable")
    at = np.unique(np.linspace(0, len(order) - 1, min(count, len(order))).round()).astype(np.int64)
    return np.asarray(good[order[at]])
