"""Tasks: targets, baselines, calibration, decoding."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from luban.catalog import TASKS
from luban.data.schema import Column, Schema
from luban.errors import DataError
from luban.features.base import Encoder
from luban.features.category import CategoryIndex
from luban.features.number import NumberVector
from luban.tasks.base import Head
from luban.tasks.binary import Binary, BinaryOptions
from luban.tasks.multiclass import Multiclass
from luban.tasks.regression import LEVELS, Regression, RegressionOptions, half_width

RNG = np.random.default_rng(0)


def schema(kind: str) -> Schema:
    return Schema(columns=(Column(name="x", type="text"), Column(name="y", type=kind, role="target")))


def fitted(task: Binary | Multiclass | Regression, values: list) -> tuple[Encoder, np.ndarray, Head]:
    want = task.target_want
    cls = CategoryIndex if want.kind == "index" else NumberVector
    encoder = cls.fit(values, want.config, 0, None)
    return encoder, *task.target(encoder, encoder.encode(values).parts)


@pytest.mark.parametrize(
    ("name", "kind", "classes", "suits"),
    [
        ("binary", "category", 2, True),
        ("binary", "category", 1, False),
        ("binary", "category", 3, False),
        ("binary", "category", None, False),
        ("binary", "number", 2, False),
        ("multiclass", "category", 3, True),
        ("multiclass", "category", 2, False),
        ("multiclass", "text", 3, False),
        ("regression", "number", 40, True),
        ("regression", "number", None, True),
        ("regression", "number", 1, False),
        ("regression", "category", 5, False),
    ],
)
def test_supports(name: str, kind: str, classes: int | None, suits: bool) -> None:
    reason = TASKS.make(name).supports(schema(kind), classes)
    assert (reason is None) == suits
    assert reason is None or len(reason) > 10
    assert TASKS.make(name).supports(Schema(columns=(Column(name="x", type="text"),)), classes)


def test_binary_target_and_baseline() -> None:
    encoder, y, head = fitted(Binary(), ["neg", "pos", "pos", "pos"])
    assert (y.tolist(), y.dtype, head) == ([0, 1, 1, 1], np.float32, Head("binary", 1))
    assert Binary().baseline(y, head)[0] == pytest.approx(np.log(3.5 / 1.5))
    with pytest.raises(DataError, match="1 rows have none and 1 have one"):
        Binary().target(encoder, encoder.encode(["neg", None, "odd"]).parts)


def test_multiclass_target_and_baseline() -> None:
    _, y, head = fitted(Multiclass(), ["b", "a", "c", "c"])
    assert (y.tolist(), y.dtype, head) == ([1, 0, 2, 2], np.int64, Head("softmax", 3))
    outputs = Multiclass().baseline(y, head)
    assert np.exp(outputs).sum() == pytest.approx(1, abs=1e-6)
    assert outputs.argmax() == 2


def test_regression_is_standardised_and_given_back() -> None:
    values = [float(v) for v in RNG.normal(1e6, 50, 200)]
    encoder, y, head = fitted(Regression(), values)
    assert head == Head("real", 1)
    assert y.dtype == np.float32
    assert abs(float(y.mean())) < 1e-5
    decoding = Regression().calibrate(encoder, y[:, None], y)
    assert Regression().scores(y[:, None], decoding) == pytest.approx(values, abs=1e-3)
    with pytest.raises(DataError, match="1 rows have none"):
        Regression().target(encoder, encoder.encode([1.0, None]).parts)


def test_temperature_is_found() -> None:
    logits = RNG.normal(0, 2, 20_000)
    y = (RNG.random(20_000) < 1 / (1 + np.exp(-logits))).astype(np.float32)
    encoder, _, _ = fitted(Binary(), ["a", "b"])
    assert Binary().calibrate(encoder, (logits * 3)[:, None], y)["temperature"] == pytest.approx(3, rel=0.05)
    two = np.stack([np.zeros_like(logits), logits * 3], axis=1)
    found = Multiclass().calibrate(encoder, two, y.astype(np.int64))["temperature"]
    assert found == pytest.approx(3, rel=0.05)


def test_temperature_of_few_or_no_rows() -> None:
    encoder, _, _ = fitted(Binary(), ["a", "b"])
    separated = Binary().calibrate(encoder, np.array([[1.0], [-1.0]]), np.array([1, 0], np.float32))
    assert 0.6 < separated["temperature"] < 1
    nothing = Multiclass().calibrate(encoder, np.zeros((0, 2)), np.zeros(0, np.int64))
    assert nothing["temperature"] == 1.0


@given(
    st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=1, max_size=20),
    st.sampled_from([np.float32, np.float64]),
)
def test_binary_answers(logits: list[float], dtype: type) -> None:
    task, decoding = Binary(), {"classes": ["neg", "pos"], "temperature": 2.0, "threshold": 0.5}
    outputs = np.array(logits, dtype)[:, None]
    table = task.decode(outputs, decoding, BinaryOptions())
    assert list(table.columns) == list(task.columns(decoding))
    assert table.errors == [None] * len(logits)
    scores = task.scores(outputs, decoding)
    assert np.allclose(scores.sum(axis=1), 1)
    for row, answer in enumerate(table.rows()):
        assert answer == task.decode(outputs[row : row + 1], decoding, BinaryOptions()).rows()[0]
        assert answer["confidence"] == answer[f"probability_{answer['label']}"] >= 0.5
        assert answer["probability_pos"] == scores[row, 1]


def test_threshold_is_an_option() -> None:
    decoding = {"classes": ["neg", "pos"], "temperature": 1.0, "threshold": 0.5}
    outputs = np.array([[np.log(0.3 / 0.7)]])
    assert Binary().decode(outputs, decoding, BinaryOptions()).columns["label"] == ["neg"]
    chosen = Binary().decode(outputs, decoding, BinaryOptions(threshold=0.2)).rows()[0]
    assert chosen["label"] == "pos"
    assert chosen["confidence"] == pytest.approx(0.3)
    with pytest.raises(ValidationError):
        BinaryOptions(threshold=1.5)


@given(
    st.lists(st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=3, max_size=3), min_size=1, max_size=12),
    st.sampled_from([np.float32, np.float64]),
)
def test_multiclass_answers(logits: list[list[float]], dtype: type) -> None:
    task, decoding = Multiclass(), {"classes": ["a", "b", "c"], "temperature": 0.5}
    outputs = np.array(logits, dtype)
    before = outputs.copy()
    table = task.decode(outputs, decoding, task.Options())
    assert np.array_equal(outputs, before)
    assert list(table.columns) == list(task.columns(decoding))
    for row, answer in enumerate(table.rows()):
        assert answer == task.decode(outputs[row : row + 1], decoding, task.Options()).rows()[0]
        assert answer["confidence"] == answer[f"probability_{answer['label']}"]
        assert sum(answer[f"probability_{name}"] for name in "abc") == pytest.approx(1)


def test_regression_answers_and_levels() -> None:
    encoder, y, _ = fitted(Regression(), [float(v) for v in RNG.normal(10, 2, 500)])
    outputs = (y + RNG.normal(0, 0.3, 500)).astype(np.float32)[:, None]
    decoding = Regression().calibrate(encoder, outputs, y)
    widths = [decoding["half_widths"][str(level)] for level in LEVELS]
    assert widths == sorted(widths)
    for level in LEVELS:
        table = Regression().decode(outputs, decoding, RegressionOptions(level=level))
        assert list(table.columns) == list(Regression().columns(decoding))
        truth = y.astype(np.float64) * decoding["scale"] + decoding["mean"]
        inside = (np.array(table.columns["low"]) <= truth + 1e-9) & (truth - 1e-9 <= np.array(table.columns["high"]))
        assert level <= inside.mean() <= level + 0.01
    with pytest.raises(ValidationError, match="must be one of"):
        RegressionOptions(level=0.42)


def test_conformal_covers_new_rows() -> None:
    covered = []
    for _ in range(400):
        residuals = np.sort(np.abs(RNG.standard_t(3, 30)))
        covered.append(abs(RNG.standard_t(3)) <= half_width(residuals, 0.9))
    assert np.mean(covered) > 0.85


def test_too_few_rows_give_no_interval() -> None:
    encoder, y, _ = fitted(Regression(), [1.0, 2.0, 4.0])
    decoding = Regression().calibrate(encoder, y[:, None], y)
    answer = Regression().decode(y[:1, None], decoding, RegressionOptions()).rows()[0]
    assert (answer["low"], answer["high"]) == (None, None)
    assert answer["value"] == pytest.approx(1)


@pytest.mark.parametrize("task", [Binary(), Multiclass(), Regression()])
def test_a_row_without_a_finite_output_is_an_error_alone(task: Binary | Multiclass | Regression) -> None:
    decoding = {"classes": ["a", "b"], "temperature": 1.0, "threshold": 0.5}
    decoding |= {"mean": 0.0, "scale": 1.0, "half_widths": {str(level): 1.0 for level in LEVELS}}
    width = 2 if isinstance(task, Multiclass) else 1
    outputs = np.array([[0.5] * width, [np.nan] * width])
    table = task.decode(outputs, decoding, task.Options())
    assert table.errors[0] is None
    assert "finite" in table.errors[1]
