"""Checks of towers: each inside a neural model, on made lists."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as ort

from luban.checks.families import VALID, answered, bench, exported, head_of
from luban.checks.tiny import settings_of
from luban.features.kinds import Arrays, take
from luban.models.base import FitContext, Fitted
from luban.models.neural.family import Neural

HEAD = head_of("softmax")


def fitted(component: Any, settings: dict[str, Any], decisions: dict[str, Any]) -> tuple[Fitted, FitContext]:
    """A neural model with this tower, after few steps."""
    tower = {"kind": component.kind, **settings}
    family = Neural(Neural.Config.model_validate({"tower": tower, "recipe": {"max_steps": 6}}))
    train, y, context = bench(family, HEAD, decisions)
    return family.fit(train, y, context), context


def of_nothing(arrays: Arrays) -> Arrays:
    """The same rows with every list empty."""
    empty = {name: array for name, array in arrays.items() if name.endswith(".offsets")}
    lists = {name.rpartition(".")[0] for name in empty}
    found = dict(arrays)
    for name, array in arrays.items():
        block, _, part = name.rpartition(".")
        if block in lists and part != "present":
            found[name] = np.zeros_like(array) if part == "offsets" else array[:0]
    return found


def reads_lists_with_parity(component: Any) -> None:
    """The graph answers as the model does to 1e-4, and a row alone as among others to 1e-6."""
    with settings_of(component) as settings:
        model, context = fitted(component, settings, {})
    data = exported(model, HEAD)
    expected, found = np.asarray(model.predict(context.valid)), answered(data, context.valid)
    assert np.abs(found - expected).max() <= 1e-4
    for row in range(0, VALID, 5):
        alone = answered(data, take(context.valid, np.array([row])))
        assert (np.abs(alone[0] - found[row]) / np.maximum(1, np.abs(alone[0]))).max() <= 1e-6


def lists_of_nothing_are_answered(component: Any) -> None:
    """Rows without entries get finite outputs, by the model and by the graph."""
    with settings_of(component) as settings:
        model, context = fitted(component, settings, {})
    nothing = of_nothing(context.valid)
    found, expected = answered(exported(model, HEAD), nothing), np.asarray(model.predict(nothing))
    assert np.isfinite(found).all()
    assert np.abs(found - expected).max() <= 1e-4


def sizes_are_free(component: Any) -> None:
    """The graph leaves the number of rows and the length of lists open."""
    with settings_of(component) as settings:
        model, _ = fitted(component, settings, {})
    session = ort.InferenceSession(exported(model, HEAD), providers=["CPUExecutionProvider"])
    assert any(len(i.shape) == 2 and isinstance(i.shape[1], str) for i in session.get_inputs()), "it reads a list"
    assert all(isinstance(i.shape[0], str) for i in session.get_inputs())


def is_repeatable(component: Any) -> None:
    """The same arrays, settings, seed and decisions give the same graph, byte for byte."""
    decisions: dict[str, Any] = {}
    with settings_of(component) as settings:
        first, second = (fitted(component, settings, decisions)[0] for _ in range(2))
    assert exported(first, HEAD) == exported(second, HEAD)


def layers_are_all_parameters(component: Any) -> None:
    """`layers` names every parameter once, in order from the input to the head."""
    with settings_of(component) as settings:
        module = fitted(component, settings, {})[0].module  # type: ignore[attr-defined]
    named = [name for layer in module.layers() for name in layer]
    assert sorted(named) == sorted(name for name, _ in module.named_parameters())
    assert all(module.layers())


CHECKS = (
    reads_lists_with_parity,
    lists_of_nothing_are_answered,
    sizes_are_free,
    is_repeatable,
    layers_are_all_parameters,
)
