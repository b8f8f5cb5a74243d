"""Several tags a row, ordered classes, and thresholds: targets, calibration, decoding, baselines."""

from __future__ import annotations

from typing import Any

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
from luban.features.tags import TagBag
from luban.tasks.base import Head, Task
from luban.tasks.binary import Binary
from luban.tasks.ordinal import Ordinal
from luban.tasks.tags import Tags, TagsOptions
from luban.tasks.thresholds import balanced_threshold, constant_threshold, f1_threshold

RNG = np.random.default_rng(0)


def schema(kind: str) -> Schema:
    return Schema(columns=(Column(name="x", type="text"), Column(name="y", type=kind, role="target")))


def fitted(task: Task, values: list[Any]) -> tuple[Encoder, np.ndarray, Head]:
    cls = TagBag if task.target_want.kind == "bag" else CategoryIndex
    encoder = cls.fit(values, task.target_want.config, 0, None)
    return encoder, *task.target(encoder, encoder.encode(values).parts)


@pytest.mark.parametrize(
    ("name", "kind", "classes", "reason"),
    [
        ("tags", "tags", 9, None),
        ("tags", "tags", None, None),
        ("tags", "text", 9, "must be lists of tags"),
        ("tags", "category", 2, "must be lists of tags"),
        ("binary", "tags", 2, "not index"),
        ("multiclass", "tags", 5, "not index"),
        ("regression", "tags", 5, "not vector"),
        ("ordinal", "category", 4, None),
        ("ordinal", "category", 2, "3 different values"),
        ("ordinal", "number", 5, "say `data: {columns: {y: category}}`"),
    ],
)
def test_supports(name: str, kind: str, classes: int | None, reason: str | None) -> None:
    found = TASKS.make(name).supports(schema(kind), classes)
    assert found is None if reason is None else reason in str(found)
    assert TASKS.make(name).supports(Schema(columns=(Column(name="x", type="text"),)), classes)


def test_a_row_without_tags_is_all_zeros() -> None:
    encoder, y, head = fitted(Tags(), [["b", "a"], [], None, ["c"], ["b"]])
    assert head == Head("binary", 3)
    assert y.tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 0], [0, 0, 1], [0, 1, 0]]
    seen, _ = Tags().target(encoder, encoder.encode([["b", "never seen"]]).parts)
    assert seen.tolist() == [[0, 1, 0]]
    with pytest.raises(DataError, match="No training row has a tag"):
        fitted(Tags(), [[], None])


def tagged(rows: int) -> tuple[Encoder, np.ndarray, np.ndarray]:
    """A frequent and a rare tag, and outputs that are too sure of both."""
    probabilities = RNG.random((rows, 2)) * np.array([0.9, 0.06])
    y = (RNG.random((rows, 2)) < probabilities).astype(np.float32)
    encoder = TagBag.fit([["often"], ["seldom"]], Tags().target_want.config, 0, None)
    return encoder, 3 * np.log(probabilities / (1 - probabilities)), y


def test_temperature_and_thresholds_are_found_for_each_tag() -> None:
    encoder, outputs, y = tagged(8000)
    decoding = Tags().calibrate(encoder, outputs, y)
    assert decoding["classes"] == ["often", "seldom"]
    assert decoding["temperatures"] == pytest.approx([3, 3], rel=0.2)
    assert decoding["thresholds"][1] < 0.1 < decoding["thresholds"][0] < 0.5
    few = Tags().calibrate(encoder, outputs[:120], y[:120])
    assert few["temperatures"][1] == few["temperature"], "too few rows have it for one of its own"
    assert Tags(Tags.Config(threshold=0.4)).calibrate(encoder, outputs, y)["thresholds"] == [0.4, 0.4]
    none = Tags().calibrate(encoder, outputs[:0], y[:0])
    assert none["temperatures"] == [1, 1]
    assert none["thresholds"] == [0.5, 0.5]


DECODING = {"classes": ["a", "b"], "temperature": 1.0, "temperatures": [1.0, 2.0], "thresholds": [0.5, 0.9]}


def test_tags_are_given_most_probable_first() -> None:
    outputs = np.array([[0.1, 9.0], [-1.0, 0.0], [np.nan, 0.0]])
    table = Tags().decode(outputs, DECODING, TagsOptions())
    assert table.columns["tags"][:2] == [["b", "a"], []]
    assert table.errors[:2] == [None, None]
    assert table.errors[2]
    assert Tags().decode(outputs, DECODING, TagsOptions(threshold=0.2)).columns["tags"][1] == ["b", "a"]
    assert table.columns["probability_b"][0] == pytest.approx(1 / (1 + np.exp(-4.5)))
    columns = Tags().columns(DECODING)
    assert columns == {"tags": "array", "confidence": "number", "probability_a": "number", "probability_b": "number"}


def test_the_baseline_gives_the_tags_that_are_best_given_to_all() -> None:
    y = np.array([[1, 0, 0], [1, 1, 0], [1, 1, 0], [0, 0, 1]], np.float32)
    constant = np.tile(Tags().baseline(y, Head("binary", 3)), (4, 1))
    decoding = {"classes": ["a", "b", "c"], "temperature": 2.0, "temperatures": [2.0] * 3, "thresholds": [0.9] * 3}
    own = Tags().trivial(decoding, constant)
    given_tags = Tags().answered(Tags().scores(constant, own), own)
    assert given_tags.tolist() == [[True, True, False]] * 4


def test_a_threshold_of_tags_is_a_probability() -> None:
    with pytest.raises(ValidationError):
        Tags.Config(threshold="best")  # type: ignore[arg-type]
    with pytest.raises(ValidationError):
        Tags.Config(threshold=1.5)
    with pytest.raises(ValidationError):
        Binary.Config(threshold=-0.1)


def ordinal(*order: Any) -> Ordinal:
    return Ordinal(Ordinal.Config.model_validate({"order": list(order)}))


def test_steps_of_an_order() -> None:
    _, y, head = fitted(ordinal("bad", "fair", "good"), ["good", "bad", "fair", "good"])
    assert head == Head("binary", 2)
    assert y.tolist() == [[1, 1], [0, 0], [1, 0], [1, 1]]
    assert ordinal("bad", "fair", "good").truth(y).tolist() == [2, 0, 1, 2]


def test_numbers_are_in_their_order_and_words_are_not_guessed() -> None:
    encoder, y, _ = fitted(Ordinal(), ["10", "9", "-1", "9.5"])
    assert Ordinal().truth(y).tolist() == [3, 1, 0, 2]
    assert Ordinal().calibrate(encoder, np.zeros((4, 3)), y)["classes"] == ["-1", "9", "9.5", "10"]
    with pytest.raises(DataError, match="order of words is not guessed"):
        fitted(Ordinal(), ["bad", "fair", "good"])


def test_an_order_is_checked() -> None:
    with pytest.raises(DataError, match="misses `fair`"):
        fitted(ordinal("bad", "good", "great"), ["bad", "fair", "good"])
    assert "names 3, and the target has 4" in str(ordinal("a", "b", "c").supports(schema("category"), 4))
    for order in (["a", "b"], ["a", "b", "a"]):
        with pytest.raises(ValidationError, match="must name"):
            ordinal(*order)
    assert ordinal(1, 2.0, "3").config.order == ("1", "2", "3")


@given(st.lists(st.floats(-30, 30), min_size=2, max_size=6), st.floats(0.2, 5))
def test_probabilities_of_ranks_are_probabilities(logits: list[float], temperature: float) -> None:
    task, decoding = Ordinal(), {"temperature": temperature}
    scores = task.scores(np.array([logits]), decoding)
    assert scores.shape == (1, len(logits) + 1)
    assert (scores >= -1e-15).all()
    assert scores.sum() == pytest.approx(1)
    falling = sorted(logits, reverse=True)
    beyond = 1 - np.cumsum(task.scores(np.array([falling]), decoding)[0])[:-1]
    assert beyond == pytest.approx(1 / (1 + np.exp(-np.array(falling) / temperature)), abs=1e-9)


def test_the_label_is_the_median_and_expected_the_mean_rank() -> None:
    decoding = {"classes": ["low", "mid", "high"], "temperature": 1.0}
    logit = lambda p: np.log(p / (1 - p))  # noqa: E731
    table = Ordinal().decode(np.array([[logit(0.55), logit(0.44)], [np.nan, 0]]), decoding, Ordinal().Options())
    row = table.rows()[0]
    # .45 low, .11 mid, .44 high: the most probable class is at one end, half is reached in the middle
    assert row["label"] == "mid"
    assert row["confidence"] == pytest.approx(0.11)
    assert row["expected"] == pytest.approx(0.45 + 0.22 + 3 * 0.44)
    assert table.errors[1]


def test_a_class_without_rows_is_hardly_probable() -> None:
    task = ordinal("none", "low", "mid", "high")
    _, y, head = fitted(task, ["low", "mid", "high"] * 30)
    constant = np.tile(task.baseline(y, head), (1, 1))
    scores = task.scores(constant, {"temperature": 1.0})[0]
    assert scores[0] < 0.01
    assert scores[1:] == pytest.approx([1 / 3] * 3, abs=0.01)


@given(st.integers(0, 500), st.integers(1, 60))
def test_no_other_threshold_has_a_higher_f1(seed: int, rows: int) -> None:
    rng = np.random.default_rng(seed)
    probabilities, positive = rng.integers(0, 11, rows) / 10, rng.random(rows) < 0.4

    def f1(threshold: float) -> float:
        given_rows = probabilities >= threshold
        return 2 * (given_rows & positive).sum() / max((given_rows.sum() + positive.sum()), 1)

    found = f1_threshold(probabilities, positive)
    assert 0 <= found <= 1
    if 0 < positive.sum() < rows:
        assert f1(found) == pytest.approx(max(f1(cut) for cut in np.linspace(-0.05, 1.05, 111)))
    else:
        assert found == 0.5


def test_thresholds_without_a_choice() -> None:
    assert balanced_threshold(np.zeros(0), np.zeros(0, bool)) == 0.5
    assert balanced_threshold(np.full(4, 0.3), np.array([True, False, True, False])) <= 0.5
    assert constant_threshold(np.array([0.01, 0.02])) == 0.02
    assert constant_threshold(np.array([0.3, 0.29, 0.01])) == 0.29


def test_a_binary_threshold_is_chosen_on_the_rows_it_is_given() -> None:
    y = (np.arange(400) % 10 == 0).astype(np.float32)
    outputs = (RNG.normal(size=400) + 2 * y - 2.5)[:, None]
    encoder = CategoryIndex.fit(["no", "yes"], Binary().target_want.config, 0, None)
    for stated, aim in (("f1", "f1"), ("balanced", "balanced_accuracy"), (0.2, "balanced_accuracy")):
        task = Binary(Binary.Config(threshold=stated))  # type: ignore[arg-type]
        decoding = task.calibrate(encoder, outputs, y)
        assert task.aims(decoding)[0] == aim
        assert decoding["threshold"] < 0.5
        assert set(task.aims(decoding)) == set(Binary.metrics)
    plain = Binary().calibrate(encoder, outputs, y)
    assert "aim" not in plain
    assert Binary().aims(plain) == Binary.metrics
    assert Binary(Binary.Config(threshold=0.5)).calibrate(encoder, outputs, y) == plain


def test_the_class_that_is_looked_for_stands_second() -> None:
    task = Binary(Binary.Config(positive="bad"))
    encoder, y, _ = fitted(task, ["bad", "good", "good"])
    assert y.tolist() == [1, 0, 0]
    decoding = task.calibrate(encoder, np.array([[3.0], [-3.0], [-3.0]]), y)
    assert decoding["classes"] == ["good", "bad"]
    row = task.decode(np.array([[3.0]]), decoding, task.Options()).rows()[0]
    assert row["label"] == "bad"
    assert list(row)[2:] == ["probability_good", "probability_bad"]
    assert Binary.Config.model_validate({"positive": 1}).positive == "1"
    with pytest.raises(DataError, match="bad or good, but is `worse`"):
        fitted(Binary(Binary.Config(positive="worse")), ["bad", "good"])
