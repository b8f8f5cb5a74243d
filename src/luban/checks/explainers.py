"""Checks of explainers, on a small bundle of a text, a number and a category."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from luban.bundle.bundle import HEAD, Bundle
from luban.bundle.graph import GraphBuilder
from luban.bundle.manifest import TaskSpec
from luban.bundle.write import Draft, write_bundle
from luban.catalog import FAMILIES, FEATURES
from luban.data.schema import Schema
from luban.explain.attribution import Attribution
from luban.explain.base import Case, Explainer, Grid, Marked, Sentence, Unexplained
from luban.explain.wording import WORDS
from luban.features.kinds import Arrays, pad
from luban.models.base import FitContext, Refusal
from luban.models.graph_model import GraphModel
from luban.tasks.base import Head

ADDITIVE = 1e-3
MADE: tuple[tuple[str, dict[str, str]], ...] = (
    ("linear", {"text": "text", "number": "number", "category": "category"}),
    ("trees", {"number": "number", "other": "number"}),
)
"""Family, and columns with their types, of each bundle that methods are tried on."""
_FOLDERS: list[tempfile.TemporaryDirectory[str]] = []
"""Made bundles lie there as long as the process lives: methods may look into their files."""
WORDS_OF = (("late", "cold", "broken"), ("quick", "fresh", "good"))


def made_rows(count: int, columns: Iterable[str]) -> list[dict[str, Any]]:
    """Rows of which the first word, the number and the category tell the class."""
    rng = np.random.default_rng(3)
    rows = []
    for number in range(count):
        words = [WORDS_OF[number % 2][number % 3], *rng.choice(["order", "today", "parcel"], 3).tolist()]
        whole = {
            "text": " ".join(words),
            "number": float(number % 2 * 3 + rng.normal()),
            "other": float(rng.normal()),
            "category": "ab"[number % 2] if number % 5 else "c",
        }
        rows.append({name: whole[name] for name in columns})
    return rows


@lru_cache(maxsize=4)
def made_bundle(number: int) -> Bundle:
    """The bundle of that number in `MADE`, of two classes, fitted on 120 made rows."""
    family, columns = MADE[number]
    rows = made_rows(120, columns)
    model = FAMILIES.resolve(family)()
    head = Head("binary", 1)
    wants = model.wants(head)
    assert not isinstance(wants, Refusal)
    encoders: list[Any] = []
    arrays: Arrays = {}
    for column, kind in columns.items():
        feature = FEATURES.make(kind)
        want = next(want for want in wants if feature.supports(want) is None)
        values = [row[column] for row in rows]
        encoders.append((column, feature.fit(values, want, 0)))
        arrays |= encoders[-1][1].encode(values).named(encoders[-1][1].block(column))
    y = (np.arange(len(rows)) % 2).astype(np.float32)
    context = FitContext(
        head=head,
        blocks=tuple(encoder.block(column) for column, encoder in encoders),
        valid=arrays,
        y_valid=y,
        seed=0,
        num_threads=1,
        loss=lambda outputs, truth: float(np.mean((outputs[:, 0] - truth) ** 2)),
        decide=lambda key, make: make(),
    )
    graph = GraphBuilder()
    data = graph.build(model.fit(arrays, y, context).export(graph), 1).SerializeToString(deterministic=True)
    return _written(columns, encoders, arrays, data, rows)


def _written(
    columns: dict[str, str], encoders: list[Any], arrays: Arrays, data: bytes, rows: list[dict[str, Any]]
) -> Bundle:
    import onnx

    takes = {value.name for value in onnx.load_model_from_string(data).graph.input}
    examples = {name: array for name, array in pad(arrays).items() if name in takes}
    known = [{"name": name, "type": kind} for name, kind in columns.items()]
    draft = Draft(
        name="made",
        owner="",
        purpose="",
        task=TaskSpec(
            kind="binary",
            config={},
            head="binary",
            width=1,
            decoding={"classes": ["bad", "good"], "temperature": 1.0, "threshold": 0.5},
            target="label",
        ),
        schema=Schema.model_validate({"columns": [*known, {"name": "label", "type": "category", "role": "target"}]}),
        row_steps=(),
        encoders=encoders,
        graph=data,
        examples={**examples, HEAD: np.asarray(GraphModel(data).predict(arrays), np.float32)},
        example_rows=rows[:3],
    )
    kept = tempfile.TemporaryDirectory()
    _FOLDERS.append(kept)
    write_bundle(Path(kept.name), draft)
    return Bundle.load(kept.name)


def cases(explainer: Explainer) -> Iterator[Case]:
    """A case of nine rows, one of them without any value, for each made bundle that the method suits."""
    for number, (_, columns) in enumerate(MADE):
        bundle = made_bundle(number)
        if explainer.supports(bundle, None) is None:
            rows: list[dict[str, Any]] = [*made_rows(8, columns), {}]
            case = Case.of(bundle, rows)
            yield replace(case, truth=(np.arange(len(rows)) % 2).astype(np.float32))


def _found(component: Any, case: Case) -> list[dict[str, Any]]:
    return [finding.to_json() for finding in component().explain(case)]


def says_whom_it_suits(component: Any) -> None:
    """`supports` is None for a made bundle, or says why not in words; without a checkpoint it may refuse all."""
    for number in range(len(MADE)):
        reason = component().supports(made_bundle(number), None)
        assert reason is None or (isinstance(reason, str) and reason)


def finds_something_for_each_row(component: Any) -> None:
    """One finding a row in order, the bad row `Unexplained`; or one about the model; all of it plain JSON."""
    for case in cases(component()):
        found = component().explain(case)
        if component.explains == "model":
            assert [finding.row for finding in found] == [None]
        else:
            assert [finding.row for finding in found] == list(range(len(case)))
            assert isinstance(found[-1], Unexplained)
            assert not any(isinstance(finding, Unexplained) for finding in found[:-1])
        for finding in found:
            assert finding.method == component.kind
            json.dumps(finding.to_json(), allow_nan=False)


def shares_sum_to_the_output(component: Any) -> None:
    """Where it says so, base and shares sum to the output to 1e-3."""
    for case in cases(component()):
        for finding in component().explain(case):
            if component.additive and not isinstance(finding, Unexplained):
                assert isinstance(finding, Attribution)
                assert finding.additive
                assert finding.gap <= ADDITIVE


def is_repeatable(component: Any) -> None:
    """The same case and seed give the same findings."""
    for case in cases(component()):
        assert _found(component, case) == _found(component, case)


def ignores_neighbours(component: Any) -> None:
    """A row is explained alike alone and among others."""
    if component.explains == "model":
        return
    for case in cases(component()):
        together = _found(component, case)
        alone = _found(component, case.some(np.array([3])))
        assert _rounded({**alone[0], "row": 3}) == _rounded(together[3])


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_rounded(inner) for inner in value]
    return round(value, 4) + 0.0 if isinstance(value, float) else value


def can_be_shown(component: Any) -> None:
    """Its blocks are of the known kinds, and their words are there in every language."""
    for case in cases(component()):
        for finding in component().explain(case):
            for block in finding.blocks():
                assert isinstance(block, Sentence | Marked | Grid)
                for words in WORDS.values():
                    assert not isinstance(block, Sentence) or block.key in words
                    assert not isinstance(block, Grid) or all(name in words for name in block.head)


CHECKS = (
    says_whom_it_suits,
    finds_something_for_each_row,
    shares_sum_to_the_output,
    is_repeatable,
    ignores_neighbours,
    can_be_shown,
)
