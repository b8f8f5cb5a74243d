"""Checks of converters: one kind into another inside the graph."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from luban.bundle.graph import GraphBuilder
from luban.checks.families import ROWS, answered, head_of, made, made_y
from luban.checks.tiny import settings_of
from luban.features.kinds import PARTS, take
from luban.models.base import Converter
from luban.tasks.base import Head

HEADS = ("binary", "softmax", "real")


@contextmanager
def made_of(component: Any) -> Iterator[Converter]:
    """A converter with settings that it can be made with."""
    with settings_of(component) as settings:
        yield component(component.Config.model_validate(settings))


def converts_with_parity(component: Any) -> None:
    """`convert` gives the block it names, and the exported graph the same figures to 1e-4."""
    with made_of(component) as converter:
        for kind in HEADS:
            _check_parity(converter, head_of(kind))


def _check_parity(converter: Converter, head: Head) -> None:
    source, arrays = made(converter.wants(), "c", ROWS, seed=2)
    fitted, train = converter.fit(arrays, source, made_y(head, ROWS), head, 0)
    block = fitted.block
    assert block.kind == converter.gives
    assert block.column == source.column
    assert source.kind == converter.takes
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
    with made_of(component) as converter:
        source, arrays = made(converter.wants(), "c", ROWS, seed=2)
        (first, a), (second, b) = (converter.fit(arrays, source, made_y(head, ROWS), head, 0) for _ in range(2))
    assert first.block == second.block
    assert all(np.array_equal(a[name], b[name]) for name in a)


def ignores_neighbours(component: Any) -> None:
    """A row is converted alike alone and among others."""
    head = head_of("binary")
    with made_of(component) as converter:
        source, arrays = made(converter.wants(), "c", ROWS, seed=2)
        fitted, _ = converter.fit(arrays, source, made_y(head, ROWS), head, 0)
    name = fitted.block.part("value")
    together = fitted.convert(arrays)[name]
    alone = fitted.convert(take(arrays, np.array([5])))[name]
    assert np.abs(alone[0] - together[5]).max() <= 1e-6


def what_learns_looks_at_rows(component: Any) -> None:
    """A converter that says that it learns nothing gives the same whatever rows and target it is fitted on."""
    if component.learns:
        return
    head = head_of("binary")
    with made_of(component) as converter:
        source, arrays = made(converter.wants(), "c", ROWS, seed=2)
        some, y = np.arange(7), made_y(head, ROWS)
        fitted = [converter.fit(take(arrays, r), source, y[r], head, s)[0] for r, s in ((some, 0), (some[:0], 1))]
    assert fitted[0].block == fitted[1].block
    name = fitted[0].block.part("value")
    assert np.array_equal(fitted[0].convert(arrays)[name], fitted[1].convert(arrays)[name])


CHECKS = (converts_with_parity, is_repeatable, ignores_neighbours, what_learns_looks_at_rows)
