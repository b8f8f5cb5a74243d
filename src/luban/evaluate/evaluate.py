"""From a model's outputs on test rows to an `Evaluation`: metrics, intervals, comparisons.

Works on plain arrays and the task's contract; knows no model family, no file and no bundle. Decided
here: the baseline always stands beside the model; the champion, if there is one, answers with its
own decoding; every figure has its interval; a share of none or all, which no resample varies, has Wilson's.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from luban.catalog import need
from luban.errors import DataError
from luban.evaluate import bootstrap, calibration, compare
from luban.evaluate.config import EvaluateConfig
from luban.evaluate.intervals import wilson
from luban.evaluate.metrics import METRICS, Metric, Undefined, indicators, metric
from luban.evaluate.records import (
    Calibration,
    ClassScores,
    Comparison,
    Confusion,
    Coverage,
    Estimate,
    Evaluation,
    finite,
)
from luban.evaluate.scored import Scored, scored, truth_of
from luban.tasks.base import Decoding, Task

MODEL, BASELINE, CHAMPION = "model", "baseline", "champion"
TOO_LONG = "an interval would take too long: every class ranks all rows in every resample"


def evaluate(
    task: Task,
    decoding: Decoding,
    y: np.ndarray,
    outputs: Mapping[str, np.ndarray],
    seed: int,
    config: EvaluateConfig,
    champion_decoding: Decoding | None = None,
    clusters: np.ndarray | None = None,
) -> Evaluation:
    """Measure outputs [B, n] before squashing, by model name, against y [B] as the task encodes it.

    `outputs` has "model" and "baseline", and may have "champion", which is decoded by
    `champion_decoding` where one is given. `clusters` [B] int64 from 0 name rows that hang together, which
    resamples then draw or leave as one. Raises DataError for outputs that do not fit y.
    """
    models = _models(task, decoding, y, outputs, champion_decoding)
    aims = task.aims(decoding)
    metrics = metrics_for(aims, models)
    figures, estimates = measured(models, metrics, config, seed, clusters)
    model = models[MODEL]
    labels = labels_of(decoding, model)
    return Evaluation(
        task=task.kind or type(task).__name__.lower(),
        num_rows=len(y),
        seed=seed,
        first_metric=aims[0],
        headline=tuple(name for name in aims if name in metrics),
        level=config.level,
        metrics=estimates[MODEL],
        others={name: found for name, found in estimates.items() if name != MODEL},
        comparisons=_comparisons(aims[0], models, estimates, figures, config.level),
        classes=_per_class(model, labels) if labels else (),
        confusion=_confusion(model, labels) if model.num_classes else None,
        calibration=_calibration(task, decoding, outputs[MODEL], model) if labels else None,
        coverage=_coverage(task, model),
        method=_method(config, clusters),
    )


def measured(
    models: Mapping[str, Scored],
    metrics: Mapping[str, Metric],
    config: EvaluateConfig,
    seed: int,
    clusters: np.ndarray | None,
) -> tuple[bootstrap.Figures, dict[str, dict[str, Estimate]]]:
    """Resampled figures, and values with intervals, by model and metric."""
    figures = bootstrap.resample(models, metrics, config.num_resamples, seed, clusters)
    together = clusters is not None and len(clusters) > 1 and not clusters.any()
    lacking = "all test rows hang together" if together else TOO_LONG
    units = len(next(iter(models.values()))) if clusters is None else int(clusters.max()) + 1
    estimates = {
        name: {m: _estimate(rows, metrics[m], figures[name][m], config.level, lacking, units) for m in metrics}
        for name, rows in models.items()
    }
    return figures, estimates


def _models(
    task: Task,
    decoding: Decoding,
    y: np.ndarray,
    outputs: Mapping[str, np.ndarray],
    champion_decoding: Decoding | None,
) -> dict[str, Scored]:
    """Every model's answers, each with its own decoding."""
    for name in (MODEL, BASELINE):
        if name not in outputs:
            raise DataError(f"`outputs` must have `{name}`, but got {', '.join(outputs) or 'nothing'}.")
    own = {BASELINE: task.trivial(decoding, outputs[BASELINE])}
    if champion_decoding is not None:
        own[CHAMPION] = champion_decoding
    truth = truth_of(task, decoding, y, outputs[MODEL])
    models = {name: scored(task, own.get(name, decoding), truth, found) for name, found in outputs.items()}
    for name, rows in models.items():
        if rows.num_labels != models[MODEL].num_labels:
            raise DataError(
                f"`{name}` must know {models[MODEL].num_labels} classes as the model does, but it knows "
                f"{rows.num_labels}.",
                "Models of different targets cannot be compared: leave it out.",
            )
    return models


def metrics_for(aims: tuple[str, ...], models: Mapping[str, Scored]) -> dict[str, Metric]:
    """All metrics that every model's rows have what they need for, those that the task names first."""
    has = frozenset.intersection(*(rows.has for rows in models.values()))
    named = {name: metric(name) for name in aims}
    return {name: found for name, found in {**named, **METRICS}.items() if found.needs in has}


def _estimate(rows: Scored, found: Metric, figures: np.ndarray, level: float, lacking: str, units: int) -> Estimate:
    try:
        value = finite(found.value(rows))
    except Undefined as undefined:
        return Estimate(value=None, higher_is_better=found.higher_is_better, reason=str(undefined))
    if value is None:
        return Estimate(value=None, higher_is_better=found.higher_is_better, reason="the figure is not finite")
    low, high, count = bootstrap.interval(figures, level)
    if found.share and low == high and value in (0, 1):
        low, high = wilson(int(value) * units, units, level)
    reason = None if count else "fewer than half of the resamples define it"
    if not len(figures):
        reason = lacking
    return Estimate(
        value=value, low=low, high=high, higher_is_better=found.higher_is_better, resamples=count, reason=reason
    )


def _comparisons(
    first: str,
    models: Mapping[str, Scored],
    estimates: Mapping[str, Mapping[str, Estimate]],
    figures: bootstrap.Figures,
    level: float,
) -> dict[str, Comparison]:
    return {
        name: compare.compare(
            name,
            (first, metric(first)),
            (models[MODEL], rows),
            (estimates[MODEL][first], estimates[name][first]),
            (figures[MODEL][first], figures[name][first]),
            level,
        )
        for name, rows in models.items()
        if name != MODEL
    }


def labels_of(decoding: Decoding, model: Scored) -> tuple[str, ...]:
    """The classes or tags as people read them; empty for regression."""
    classes = decoding.get("classes") or range(model.num_labels)
    return tuple(str(label) for label in classes)[: model.num_labels]


def _per_class(model: Scored, labels: tuple[str, ...]) -> tuple[ClassScores, ...]:
    truth, given = indicators(model)
    scores = need("sklearn.metrics", "train").precision_recall_fscore_support(
        truth, given, labels=np.arange(len(labels)), zero_division=np.nan
    )
    predicted = np.bincount(given, minlength=len(labels)) if given.ndim == 1 else given.sum(axis=0)
    return tuple(
        ClassScores(
            label=label,
            precision=finite(scores[0][i]),
            recall=finite(scores[1][i]),
            f1=finite(scores[2][i]),
            support=int(scores[3][i]),
            predicted=int(predicted[i]),
        )
        for i, label in enumerate(labels)
    )


def _confusion(model: Scored, labels: tuple[str, ...]) -> Confusion:
    pairs, counts = np.unique(model.truth * len(labels) + model.predicted, return_counts=True)
    cells = tuple(
        (int(pair) // len(labels), int(pair) % len(labels), int(count))
        for pair, count in zip(pairs, counts, strict=True)
    )
    return Confusion(labels=labels, cells=cells)


def _calibration(task: Task, decoding: Decoding, outputs: np.ndarray, model: Scored) -> Calibration:
    temperature = decoding.get("temperature")
    before = None
    if temperature is not None:
        before = scored(task, task.uncalibrated(decoding), model.truth, outputs)
    return calibration.calibration(model, before, None if temperature is None else float(temperature))


def _coverage(task: Task, model: Scored) -> Coverage | None:
    if model.low is None or model.high is None:
        return None
    promised = task.Options().model_dump().get("level")
    return Coverage(
        promised=None if promised is None else float(promised), mean_width=float(np.mean(model.high - model.low))
    )


def _method(config: EvaluateConfig, clusters: np.ndarray | None) -> str:
    together = ""
    if clusters is not None:
        together = (
            f" Rows of one subject or group hang together: resamples draw {int(clusters.max()) + 1:,} such clusters, "
            "not rows, and McNemar's test, which knows none, is too sure of itself."
        )
    return (
        f"Values by scikit-learn. {config.level:.0%} percentile intervals over {config.num_resamples:,} bootstrap "
        "resamples of the test rows (Efron 1979); shares of none or all by Wilson. Differences are paired: both models "
        "on the same resamples. "
        "McNemar's exact test compares who is right where only one is. Calibration error over "
        f"{calibration.NUM_BINS} equal bins of confidence (Guo et al. 2017).{together}"
    )
