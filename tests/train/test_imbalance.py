"""Rare classes: what weights, drawn rows and adjusted answers do, and that probabilities stay honest."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from luban.bundle.graph import GraphBuilder
from luban.data.dataset import ROW_ID
from luban.errors import ConfigError
from luban.features.kinds import Arrays, Block
from luban.models.base import Family, FitContext, Fitted
from luban.models.baseline import Baseline
from luban.models.graph_model import GraphModel
from luban.models.linear import Linear
from luban.tasks.base import Head
from luban.tasks.binary import Binary
from luban.tasks.multiclass import Multiclass
from luban.tasks.ordinal import Ordinal
from luban.tasks.regression import Regression
from luban.tasks.tags import Tags
from luban.train.config import Imbalance, TrainConfig
from luban.train.imbalance import check, class_weights, favour, fit_balanced, resampled

pytest.importorskip("sklearn")
BLOCK = Block("x/vector/0", "vector", "x", 2)
BINARY = Head("binary", 1)


class Data:
    """As much of a `TrainData` as is asked for here."""

    def __init__(self, task: Any, head: Head, imbalance: Imbalance, rows: int) -> None:
        self.task, self.head, self.imbalance, self.seed = task, head, imbalance, 0
        rng = np.random.default_rng(5)
        self._ids = [rng.bytes(16).hex() for _ in range(rows)]

    def values(self, column: str, split: str) -> list[str]:
        assert (column, split) == (ROW_ID, "train")
        return self._ids


class Unweighing(Linear):
    """A family that knows no weights."""

    weighs: ClassVar[bool] = False

    def fit(self, arrays: Arrays, y: np.ndarray, context: FitContext) -> Fitted:
        assert context.weights is None
        return super().fit(arrays, y, context)


def made(rows: int, share: float, seed: int) -> tuple[Arrays, np.ndarray]:
    """Two numbers that tell a rare class from the rest, more or less."""
    rng = np.random.default_rng(seed)
    y = (rng.random(rows) < share).astype(np.float32)
    value = (rng.normal(size=(rows, 2)) + y[:, None]).astype(np.float32)
    return {BLOCK.part("value"): value, BLOCK.part("present"): np.ones(rows, bool)}, y


def context(arrays: Arrays, y: np.ndarray) -> FitContext:
    return FitContext(
        head=BINARY,
        blocks=(BLOCK,),
        valid=arrays,
        y_valid=y,
        seed=0,
        num_threads=1,
        loss=lambda outputs, truth: float(np.mean(np.logaddexp(0, outputs[:, 0]) - truth * outputs[:, 0])),
        decide=lambda key, make: make(),
    )


def learnt(imbalance: Imbalance, family: Family, rows: int = 4000) -> tuple[Fitted, np.ndarray, np.ndarray]:
    """A model, and the probabilities that it gives to rows it did not see, beside their truth."""
    arrays, y = made(rows, 0.08, 1)
    valid, truth = made(4000, 0.08, 2)
    data = Data(Binary(), BINARY, imbalance, rows)
    model = fit_balanced(family, arrays, y, context(valid, truth), data)  # type: ignore[arg-type]
    outputs = np.asarray(model.predict(valid))
    exported = GraphBuilder()
    graph = exported.build(model.export(exported), 1).SerializeToString(deterministic=True)
    assert np.abs(GraphModel(graph).predict(valid) - outputs).max() <= 1e-4
    return model, 1 / (1 + np.exp(-outputs[:, 0])), truth


@pytest.mark.parametrize("kind", ["weights", "oversample", "undersample"])
@pytest.mark.parametrize("family", [Linear, Unweighing, Baseline])
def test_probabilities_stay_honest_whatever_training_saw(kind: Any, family: type[Family]) -> None:
    model, given_p, truth = learnt(Imbalance(kind=kind), family())
    assert given_p.mean() == pytest.approx(truth.mean(), abs=0.025)
    said = "weights" if family is Unweighing and kind == "weights" else "rows drawn" if kind != "weights" else ""
    assert said in model.notes  # type: ignore[attr-defined]


def test_weights_are_in_the_model_and_not_only_in_its_answers() -> None:
    _, plain, _ = learnt(Imbalance(), Linear(), 400)
    _, weighed, _ = learnt(Imbalance(kind="weights"), Linear(), 400)
    assert np.abs(plain - weighed).max() > 1e-3


def test_none_and_logit_adjustment_leave_training_as_it_is() -> None:
    found = [learnt(Imbalance(kind=kind), Linear(), 300)[1] for kind in ("none", "logit-adjustment")]
    assert np.array_equal(*found)


def test_a_loss_of_its_own_is_weighed_on_validation_rows_too() -> None:
    seen: list[FitContext] = []

    class Watching(Linear):
        def fit(self, arrays: Arrays, y: np.ndarray, context: FitContext) -> Fitted:
            seen.append(context)
            return super().fit(arrays, y, context)

    learnt(Imbalance(kind="weights"), Watching(), 500)
    (found,) = seen
    assert found.weights is not None
    assert found.weights.mean() == pytest.approx(1)
    assert found.valid_weights is not None
    assert set(found.valid_weights) == set(found.weights)
    # the shared loss sees outputs as they are given out
    wide = replace(found, y_valid=found.y_valid)
    assert wide.loss(np.full((4000, 1), 2.0), found.y_valid) < wide.loss(np.full((4000, 1), 6.0), found.y_valid)


@given(st.integers(0, 60), st.floats(1.0, 5.0), st.integers(0, 1000))
def test_a_row_is_drawn_by_its_name_alone(rows: int, copies: float, seed: int) -> None:
    names = np.random.default_rng(seed).integers(0, 2**63, rows).astype(np.uint64)
    drawn = resampled(names, np.full(rows, copies), seed)
    counts = np.bincount(drawn, minlength=rows)
    assert ((counts == np.floor(copies)) | (counts == np.floor(copies) + 1)).all()
    assert (np.diff(drawn) >= 0).all()
    other = np.concatenate([names[::-1], np.arange(5, dtype=np.uint64)])
    again = np.bincount(resampled(other, np.full(rows + 5, copies), seed), minlength=rows + 5)
    assert np.array_equal(again[:rows][::-1], counts)


def test_class_weights() -> None:
    counts = np.array([900, 90, 1, 0])
    assert class_weights(Imbalance(kind="weights"), counts).tolist() == [1, 10, 100, 100]
    assert class_weights(Imbalance(kind="weights", strength=0.5), counts[:2]).tolist() == pytest.approx([1, 10**0.5])
    assert class_weights(Imbalance(kind="weights", max_ratio=5), counts).tolist() == [1, 5, 5, 5]


def test_a_rarer_class_is_answered_sooner_and_its_probability_is_as_before() -> None:
    y = np.array([0] * 90 + [1] * 10)
    imbalance = Imbalance(kind="logit-adjustment")
    decoding = favour(imbalance, Binary(), {"threshold": 0.5, "temperature": 1.0}, y, BINARY)
    assert decoding["threshold"] == pytest.approx(0.1)
    scores = np.array([[0.85, 0.15], [0.95, 0.05]])
    assert Binary().answered(scores, decoding).tolist() == [1, 0]
    assert Binary().aims(decoding)[0] == "balanced_accuracy"

    many = favour(
        imbalance, Multiclass(), {"temperature": 1.0}, np.array([0] * 8 + [1] * 1 + [2] * 1), Head("softmax", 3)
    )
    assert Multiclass().answered(np.array([[0.7, 0.2, 0.1], [0.9, 0.05, 0.05]]), many).tolist() == [1, 0]
    assert "offsets" not in Multiclass().trivial(many, np.zeros((1, 3)))

    steps = np.array([[0, 0]] * 8 + [[1, 0]] + [[1, 1]])
    ranks = favour(imbalance, Ordinal(), {"temperature": 1.0}, steps, Head("binary", 2))
    assert Ordinal().answered(np.array([[0.6, 0.2, 0.2], [0.98, 0.01, 0.01]]), ranks).tolist() == [1, 0]


def test_a_stated_threshold_stays() -> None:
    task = Binary(Binary.Config(threshold=0.7))
    decoding = {"threshold": 0.7}
    assert favour(Imbalance(kind="weights"), task, decoding, np.array([0, 0, 1]), BINARY) is decoding
    with pytest.raises(ConfigError, match=r"task\.threshold"):
        check(Imbalance(kind="logit-adjustment"), task, np.array([0, 0, 1]), BINARY)
    check(Imbalance(kind="weights"), task, np.array([0, 0, 1]), BINARY)


def test_it_is_refused_where_rows_have_no_class() -> None:
    for task, head in ((Regression(), Head("real", 1)), (Tags(), Head("binary", 3))):
        check(Imbalance(), task, np.zeros((4, head.width)), head)
        with pytest.raises(ConfigError, match=r"train\.imbalance.*not of one class"):
            check(Imbalance(kind="weights"), task, np.zeros((4, head.width)), head)


def test_the_setting_is_a_name_or_a_mapping() -> None:
    assert TrainConfig.model_validate({"imbalance": "weights"}).imbalance == Imbalance(kind="weights")
    assert TrainConfig().imbalance.kind == "none"
    with pytest.raises(ValidationError, match="smote"):
        TrainConfig.model_validate({"imbalance": "smote"})
