"""Checks of model families: what they learn, export and promise, on small made arrays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import onnxruntime as ort

from luban.bundle.graph import GraphBuilder
from luban.bundle.manifest import StageSpec
from luban.bundle.runtimes.onnx import OnnxRuntime
from luban.catalog import FAMILIES
from luban.features.kinds import Arrays, Block, Want, pad, take
from luban.models.base import Family, FitContext, Fitted, Member, Refusal
from luban.tasks.base import Head
from luban.train.loop import loop

ROWS, VALID = 120, 40


def head_of(kind: str) -> Head:
    """A head of a kind, three wide where it has classes."""
    return Head(kind, 3 if kind == "softmax" else 1)  # type: ignore[arg-type]


def heads_of(component: Any) -> list[Head]:
    """The heads that a family learns: one of each kind, and several yes-or-no outputs unless it refuses them."""
    found = [head_of(kind) for kind in component.heads]
    several = Head("binary", 3)
    if "binary" in component.heads and not isinstance(component().wants(several), Refusal):
        found.append(several)
    return found


def made_y(head: Head, rows: int) -> np.ndarray:
    """A target that the made arrays explain; of several outputs the last is never so."""
    position = np.arange(rows)
    if head.kind == "binary" and head.width > 1:
        return np.stack([position % 2, position % 3 == 0, np.zeros(rows)], axis=1).astype(np.float32)
    if head.kind == "binary":
        return (position % 2).astype(np.float32)
    if head.kind == "softmax":
        return (position % 3).astype(np.int64)
    return ((position % 6) / 2.0 - 1.25).astype(np.float32)


def made(want: Want, column: str, rows: int, seed: int) -> tuple[Block, Arrays]:
    """A block of the wanted kind and arrays for it that tell row numbers modulo 6 apart."""
    rng = np.random.default_rng(seed)
    position = np.arange(rows) % 6
    present = np.ones(rows, bool)
    if want.kind == "vector":
        block = Block(f"{column}/vector/00", "vector", column, 3)
        value = rng.normal(size=(rows, 3)).astype(np.float32) * 0.1
        value[:, 0] += position
        parts: Arrays = {"value": value}
    elif want.kind == "index":
        block = Block(f"{column}/index/00", "index", column, 8)
        parts = {"value": (2 + position).astype(np.int64)}
    else:
        block = Block(f"{column}/{want.kind}/00", want.kind, column, 20)
        lengths = rng.integers(1, 5, rows)
        lengths[3] = 0
        ids = np.concatenate(
            [
                np.append(rng.integers(8, 20, max(n - 1, 0)), 2 + p)[-n:] if n else np.zeros(0)
                for n, p in zip(lengths, position, strict=True)
            ]
        ).astype(np.int64)
        beside = {"mask": np.ones(len(ids), bool)}
        if want.kind == "bag":
            beside = {"weights": rng.uniform(0.2, 1, len(ids)).astype(np.float32)}
        parts = {
            "ids": ids,
            **beside,
            "offsets": np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        }
    return block, {block.part(name): array for name, array in {**parts, "present": present}.items()}


def recorder(decisions: dict[str, Any]) -> Callable[[str, Callable[[], Any]], Any]:
    """A `decide` that keeps what was decided in `decisions`, and replays what stands there."""

    def decide(key: str, make: Callable[[], Any]) -> Any:
        if key not in decisions:
            decisions[key] = make()
        return decisions[key]

    return decide


def bench(family: Family, head: Head, decisions: dict[str, Any] | None = None) -> tuple[Arrays, np.ndarray, FitContext]:
    """Made training rows and a context for a family, one column for each kind that it wants."""
    wants = family.wants(head)
    assert not isinstance(wants, Refusal), wants
    chosen = {want.kind: want for want in reversed(wants)} or {"vector": Want("vector", family.Config())}
    blocks: list[Block] = []
    train: Arrays = {}
    valid: Arrays = {}
    for kind, want in chosen.items():
        block, arrays = made(want, kind, ROWS + VALID, seed=1)
        blocks.append(block)
        train |= take(arrays, np.arange(ROWS))
        valid |= take(arrays, np.arange(ROWS, ROWS + VALID))
    y = made_y(head, ROWS + VALID)
    context = FitContext(
        head=head,
        blocks=tuple(blocks),
        valid=valid,
        y_valid=y[ROWS:],
        seed=0,
        num_threads=1,
        loss=lambda outputs, truth: float(np.mean((outputs[:, 0] - truth.reshape(len(truth), -1)[:, 0]) ** 2)),
        decide=recorder({} if decisions is None else decisions),
        loop=loop,
    )
    return train, y[:ROWS], context


def fitted(
    component: Any, head: Head, decisions: dict[str, Any] | None = None
) -> tuple[Fitted, Arrays, np.ndarray, FitContext]:
    """A model of the family's default settings on made rows; a vote gets two linear members."""
    family: Family = component()
    if not family.votes:
        train, y, context = bench(family, head, decisions)
        return family.fit(train, y, context), train, y, context
    linear = FAMILIES.resolve("linear")()
    train, y, context = bench(linear, head)
    models = [linear.fit(train, y, replace(context, seed=seed)) for seed in (0, 1)]
    members = tuple(
        Member(f"linear-{number}", "linear", np.asarray(model.predict(context.valid)), model)
        for number, model in enumerate(models)
    )
    context = replace(context, members=members)
    return family.fit(train, y, context), train, y, context


def each_head(function: Callable[[Any, Head], None]) -> Callable[[Any], None]:
    """Run a check for every head of a family."""

    def check(component: Any) -> None:
        for head in heads_of(component):
            function(component, head)

    check.__name__ = function.__name__
    check.__doc__ = function.__doc__
    return check


def exported(model: Fitted, head: Head) -> Any:
    """The model's graph as bytes."""
    graph = GraphBuilder()
    return graph.build(model.export(graph), head.width).SerializeToString(deterministic=True)


def answered(data: bytes, arrays: Arrays) -> np.ndarray:
    """Outputs of a graph for bulk arrays, padded as one batch."""
    session = ort.InferenceSession(data, providers=["CPUExecutionProvider"])
    padded = pad(arrays)
    found: np.ndarray = session.run(None, {i.name: padded[i.name] for i in session.get_inputs()})[0]
    return found


@each_head
def predicts_its_head(component: Any, head: Head) -> None:
    """Outputs are [B, width], finite, and the arrays and y are left alone."""
    family: Family = component()
    if not family.votes:
        train, y, context = bench(family, head)
        before = {name: array.copy() for name, array in train.items()}
        family.fit(train, y, context)
        assert all(
            np.array_equal(train[name], array, equal_nan=array.dtype.kind == "f") for name, array in before.items()
        )
    model, train, _, _ = fitted(component, head)
    outputs = np.asarray(model.predict(train))
    assert outputs.shape == (ROWS, head.width)
    assert np.isfinite(outputs).all()


@each_head
def exports_with_parity(component: Any, head: Head) -> None:
    """The graph passes audit and answers as `predict` does, to 1e-4."""
    model, _, _, context = fitted(component, head)
    data = exported(model, head)
    session = ort.InferenceSession(data, providers=["CPUExecutionProvider"])
    stage = StageSpec(
        name="model", runtime="onnx", files=("f",), takes=tuple(i.name for i in session.get_inputs()), gives=("head",)
    )
    assert OnnxRuntime().audit(stage, {"f": data}) is None
    found, expected = answered(data, context.valid), np.asarray(model.predict(context.valid))
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 1e-4


@each_head
def answers_ignore_neighbours(component: Any, head: Head) -> None:
    """A row's answer is the same alone and in a batch, to 1e-6."""
    model, _, _, context = fitted(component, head)
    data = exported(model, head)
    together = answered(data, context.valid)
    for row in range(0, VALID, 7):
        alone = answered(data, take(context.valid, np.array([row])))
        assert np.abs(alone[0] - together[row]).max() <= 1e-6


@each_head
def fitting_is_repeatable(component: Any, head: Head) -> None:
    """The same arrays, config, seed and decisions give the same graph, byte for byte; weights are plain arrays."""
    decisions: dict[str, Any] = {}
    first, second = (fitted(component, head, decisions)[0] for _ in range(2))
    assert exported(first, head) == exported(second, head)
    assert all(isinstance(array, np.ndarray) for array in first.checkpoint().values())


def _weighed(component: Any, weights: np.ndarray | None, rows: np.ndarray | None = None) -> np.ndarray:
    """Outputs [VALID, 1] of a model that learnt with these weights, or these rows (positions)."""
    family: Family = component()
    train, y, context = bench(family, head_of("binary"))
    if rows is not None:
        train, y = take(train, rows), y[rows]
    return np.asarray(family.fit(train, y, replace(context, weights=weights)).predict(context.valid))


def weights_are_rows(component: Any) -> None:
    """A row of weight 2 counts as two rows, to 0.02 in a logit; for families that `weigh`."""
    if not component.weighs:
        return
    twice = np.arange(ROWS) % 4 == 1
    doubled = _weighed(component, None, np.repeat(np.arange(ROWS), 1 + twice))
    difference = np.abs(_weighed(component, 1.0 + twice) - doubled).max()
    assert difference <= 0.02, difference


def weights_move_answers(component: Any) -> None:
    """Where rows of the second class weigh more, it becomes more probable; for families that `weigh`."""
    if not component.weighs:
        return
    weights = np.where(made_y(head_of("binary"), ROWS) > 0, 5.0, 1.0)
    assert _weighed(component, weights / weights.mean()).mean() > _weighed(component, None).mean()


def variants_are_valid(component: Any) -> None:
    """What `auto` may try are settings of its Config, at least one."""
    for head in heads_of(component):
        for rows in (50, 1_000_000):
            variants = component().variants(rows, head)
            assert variants
            for settings in variants:
                component.Config.model_validate(settings)


CHECKS = (
    predicts_its_head,
    exports_with_parity,
    answers_ignore_neighbours,
    fitting_is_repeatable,
    weights_are_rows,
    weights_move_answers,
    variants_are_valid,
)
