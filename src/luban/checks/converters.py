"""Checks of converters: one kind into another inside the graph."""

from __future__ import annotations

from typing import Any

import numpy as np

from luban.bundle.graph import GraphBuilder
from luban.checks.families import ROWS, answered, head_of, made, made_y
from luban.features.kinds import PARTS, take

HEADS = ("binary", "softmax", "real")


def converts_with_parity(component: Any) -> None:
    """`convert` gives the block it names, and the exported graph the same figures to 1e-4."""
    for kind in HEADS:
        head = head_of(kind)
        source, arrays = made(component().wants(), "c", ROWS, seed=2)
        fitted, train = component().fit(arrays, source, made_y(head, ROWS), head, 0)
        block = fitted.block
        assert block.kind == component.gives
        assert block.column == source.column
        assert source.kind == component.takes
        found = fitted.convert(arrays)
        for part in PARTS[block.kind]:
            assert found[block.part(part)].shape[0] == ROWS
            assert train[block.part(part)].shape == found[block.part(part)].shape
        graph = GraphBuilder()
        data = graph.build(fitted.export(graph)).SerializeToString(deterministic=True)
        assert np.abs(answered(data, arrays) - found[block.part("value")]).max() <= 1e-4
        assert all(isinstance(array, np.ndarray) for array in fitted.checkpoint().values())


def is_repeatable(component: Any) -> None:
    """The same arrays, y and seed give the same block name and the same arrays."""
    head = head_of("binary")
    source, arrays = made(component().wants(), "c", ROWS, seed=2)
    (first, a), (second, b) = (component().fit(arrays, source, made_y(head, ROWS), head, 0) for _ in range(2))
    assert first.block == second.block
    assert all(np.array_equal(a[name], b[name]) for name in a)


def ignores_neighbours(component: Any) -> None:
    """A row is converted alike alone and among others."""
    head = head_of("binary")
    source, arrays = made(component().wants(), "c", ROWS, seed=2)
    fitted, _ = component().fit(arrays, source, made_y(head, ROWS), head, 0)
    name = fitted.block.part("value")
    together = fitted.convert(arrays)[name]
    alone = fitted.convert(take(arrays, np.array([5])))[name]
    assert np.abs(alone[0] - together[5]).max() <= 1e-6


CHECKS = (converts_with_parity, is_repeatable, ignores_neighbours)
