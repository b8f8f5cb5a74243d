"""Odd rows and odd bundles: nothing to take away, many classes, very many parts, values that are not finite."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pytest

from luban.bundle.bundle import HEAD, Bundle
from luban.bundle.graph import GraphBuilder
from luban.bundle.manifest import TaskSpec
from luban.bundle.write import Draft, write_bundle
from luban.catalog import EXPLAINERS, FEATURES
from luban.data.schema import Schema
from luban.explain import explain
from luban.explain.attribution import Attribution
from luban.explain.base import Case, Unexplained
from luban.explain.faithfulness import faithfulness
from luban.explain.question import Question
from luban.features.base import Parts, Value
from luban.features.kinds import BagConfig, Want, pad
from luban.features.text import MAX_PARTS, Text
from luban.models.graph_model import GraphModel
from luban.models.linear import FittedLinear, LinearWeights

CLASSES = 500
ATTRIBUTING = ("occlusion", "shapley")


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle of 500 classes, each named after its number."""
    texts = [f"word{number}" for number in range(CLASSES)]
    text = FEATURES.make("text")
    bag = text.fit(texts, Want("bag", BagConfig(analyzer="word", ngram_max=1, min_rows=1)), 0)
    arrays = bag.encode(texts).named(bag.block("text"))
    weights = np.zeros((bag.size, CLASSES), np.float32)
    weights[bag.encode(texts).parts["ids"], np.arange(CLASSES)] = 9.0
    graph = GraphBuilder()
    fitted = FittedLinear(LinearWeights((bag.block("text"),), (weights,), np.zeros(CLASSES, np.float32)))
    data = graph.build(fitted.export(graph), CLASSES).SerializeToString()
    columns = [{"name": "text", "type": "text"}, {"name": "label", "type": "category", "role": "target"}]
    names = [f"c{number}" for number in range(CLASSES)]
    decoding = {"classes": names, "temperature": 1.0}
    draft = Draft(
        name="many",
        owner="",
        purpose="",
        task=TaskSpec(kind="multiclass", config={}, head="softmax", width=CLASSES, decoding=decoding, target="label"),
        schema=Schema.model_validate({"columns": columns}),
        row_steps=(),
        encoders=(("text", bag),),
        graph=data,
        examples={**pad(arrays), HEAD: np.asarray(GraphModel(data).predict(arrays), np.float32)},
        example_rows=[{"text": texts[0]}],
    )
    folder = tmp_path_factory.mktemp("many")
    write_bundle(folder, draft)
    return Bundle.load(folder)


@pytest.mark.parametrize("method", [*ATTRIBUTING, "counterfactual"])
def test_five_hundred_classes(many: Bundle, method: str) -> None:
    (finding,) = explain(many, [{"text": "word7 or word444 or word444"}], method)
    json.dumps(finding.to_json(), allow_nan=False)
    assert finding.blocks()
    if method in ATTRIBUTING:
        assert isinstance(finding, Attribution)
        assert finding.explains == "c444"
        best = max(finding.shares, key=lambda share: share.value)
        assert best.name == "word444"


def test_a_surrogate_and_importance_of_many_classes(many: Bundle) -> None:
    rows = [{"text": f"word{number % 5}"} for number in range(60)]
    found = [explain(many, rows, method)[0].to_json() for method in ("surrogate", "permutation")]
    assert found[0]["fidelity"] == 1.0
    assert found[1]["columns"][0]["value"] > 0


@pytest.mark.parametrize("method", ATTRIBUTING)
def test_more_parts_than_a_text_may_have(linear: Bundle, method: str) -> None:
    text = "order " * (2 * MAX_PARTS) + "late"
    settings = {"coalitions": 32} if method == "shapley" else {}
    (finding,) = explain(linear, [{"text": text, "number": 1}], method, settings=settings)
    assert isinstance(finding, Attribution)
    assert len(finding.shares) <= MAX_PARTS
    assert finding.to_json()["gap"] < 1e-3 or method == "occlusion"
    assert all(np.isfinite(share.value) for share in finding.shares)


@pytest.mark.parametrize("method", ATTRIBUTING)
def test_a_row_with_nothing_in_it(linear: Bundle, method: str) -> None:
    rows = [{}, {"text": "  "}, {"text": None, "number": "", "category": None}]
    found = explain(linear, rows, method)
    assert all(isinstance(finding, Unexplained) for finding in found)
    assert [finding.row for finding in found] == [0, 1, 2]
    assert explain(linear, [], method) == []


@dataclass(frozen=True)
class Whole(Parts):
    """A value that cannot be taken apart."""

    def without(self, removed: object) -> Value:
        raise AssertionError("it has no parts to remove")


@pytest.mark.parametrize("method", ATTRIBUTING)
def test_a_text_without_parts(linear: Bundle, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Text, "parts", lambda self, value: Whole((), value))
    (finding,) = explain(linear, [{"text": "late"}], method)
    assert isinstance(finding, Attribution)
    assert finding.shares == ()
    assert finding.output == finding.base
    assert [block for block in finding.blocks() if getattr(block, "key", "") == "no_parts"]
    (other,) = explain(linear, [{"text": "late", "number": 9.0}], method)
    assert isinstance(other, Attribution)
    assert [share.column for share in other.shares] == ["number"]
    assert other.gap < 1e-6
    found = faithfulness(EXPLAINERS.make(method), Case.of(linear, [{"text": "late"}]))
    assert found.beats_chance is None


def test_encoder_that_reads_only_part_of_a_text(linear: Bundle) -> None:
    """What an encoder cuts off has no share, and nothing else changes."""
    text = "late " + "x" * 30_000 + " late"
    (finding,) = explain(linear, [{"text": text}], "occlusion", asked="bad")
    assert isinstance(finding, Attribution)
    values = {share.numbers: share.value for share in finding.shares}
    assert values[(2,)] == 0.0
    assert values[(0,)] > 0


def test_columns_that_are_no_inputs_have_no_parts(linear: Bundle) -> None:
    (question,) = Case.of(linear, [{"text": "late", "number": 1.0, "label": "good", "else": 3}]).questions("test")
    assert isinstance(question, Question)
    assert {part.column for part in question.parts} == {"text", "number"}
