"""Checks of tasks: from a target to a head and back to answers."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from luban.catalog import FEATURES
from luban.data.schema import Column, Schema
from luban.errors import BadValue, DataError
from luban.features.base import Encoder
from luban.tasks.base import Head, Task

TARGETS: tuple[list[Any], ...] = (["no", "yes"] * 20, ["a", "b", "c"] * 14, [float(i % 7) for i in range(42)])


def targets_of(task: Task) -> tuple[Encoder, np.ndarray, Head]:
    """A fitted target encoder, y and head of made values that the task can learn."""
    for name in FEATURES.usable():
        feature = FEATURES.make(name)
        schema = Schema(columns=(Column(name="y", type=name, role="target"),))
        for values in (*TARGETS, list(getattr(feature, "targets", ()))):
            if not values or task.supports(schema, len(set(map(str, values)))) is not None:
                continue
            try:
                parsed = [feature.parse_value(value) for value in values]
            except BadValue:
                continue
            encoder = feature.fit(parsed, task.target_want, 0)
            try:
                y, head = task.target(encoder, encoder.encode(parsed).parts)
            except DataError:  # an order of words, say, that only its owner knows
                continue
            return encoder, y, head
    raise AssertionError("no column type gives a target for this task: give the type `targets`, a list of raw values")


def _outputs(head: Head, rows: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(rows, head.width)).astype(np.float32)


def refuses_without_a_target(component: Any) -> None:
    """A schema without a target is refused in words."""
    reason = component().supports(Schema(columns=(Column(name="x", type="text"),)), None)
    assert isinstance(reason, str)


def baseline_fits_the_head(component: Any) -> None:
    """The constant baseline is [width], finite."""
    task = component()
    _, y, head = targets_of(task)
    constant = task.baseline(y, head)
    assert constant.shape == (head.width,)
    assert np.isfinite(constant).all()
    assert len(y) == 42 or len(y) == 40


def answers_are_documented(component: Any) -> None:
    """Decoding is plain JSON; answers have the columns that are documented, one answer a row."""
    task = component()
    encoder, y, head = targets_of(task)
    outputs = _outputs(head, len(y))
    decoding = json.loads(json.dumps(task.calibrate(encoder, outputs, y), allow_nan=False))
    for rows in (0, 1, len(y)):
        table = task.decode(outputs[:rows], decoding, task.Options())
        assert len(table) == rows
        assert list(table.columns) == list(task.columns(decoding))
        assert all(len(column) == rows for column in table.columns.values())


def answers_ignore_neighbours(component: Any) -> None:
    """A row is decoded alike alone and among others; an output that is not finite is that row's error."""
    task = component()
    encoder, y, head = targets_of(task)
    outputs = _outputs(head, len(y))
    decoding = task.calibrate(encoder, outputs, y)
    spoilt = outputs.copy()
    spoilt[1] = np.nan
    together = task.decode(spoilt, decoding, task.Options()).rows()
    assert "error" in together[1]
    assert together[0] == task.decode(outputs[:1], decoding, task.Options()).rows()[0]


def what_is_judged_is_what_is_answered(component: Any) -> None:
    """`answered`, which metrics look at, says what `decode` says; `truth` is of the same form."""
    task = component()
    encoder, y, head = targets_of(task)
    outputs = _outputs(head, len(y))
    decoding = task.calibrate(encoder, outputs, y)
    scores = np.asarray(task.scores(outputs, decoding))
    first = next(iter(task.decode(outputs, decoding, task.Options()).columns.values()))
    if scores.ndim == 1:
        assert np.allclose(scores, first)
        return
    answered, names = task.answered(scores, decoding), np.array(decoding["classes"])
    assert task.truth(y).shape == answered.shape
    if answered.ndim == 1:
        assert names[answered].tolist() == first
    else:
        assert [set(names[row]) for row in answered] == [set(found) for found in first]


def loss_prefers_the_truth(component: Any) -> None:
    """The baseline's loss on its own y is lower than that of the baseline turned round."""
    task = component()
    encoder, y, head = targets_of(task)
    constant = np.tile(task.baseline(y, head), (len(y), 1)).astype(np.float64)
    worse = constant.copy()
    worse[:, 0] += 5.0
    decoding = task.calibrate(encoder, constant, y)
    assert task.loss(constant, y, decoding) < task.loss(worse, y, decoding)


def metrics_are_known(component: Any) -> None:
    """Every metric that it names can be computed."""
    from luban.evaluate.metrics import metric

    assert component.metrics
    for name in component.metrics:
        metric(name)


CHECKS = (
    refuses_without_a_target,
    baseline_fits_the_head,
    answers_are_documented,
    answers_ignore_neighbours,
    what_is_judged_is_what_is_answered,
    loss_prefers_the_truth,
    metrics_are_known,
)
