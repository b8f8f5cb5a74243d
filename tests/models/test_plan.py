from collections.abc import Sequence
from typing import Any

import pytest

from luban.catalog import FAMILIES
from luban.features.base import Feature, Guess, Parts, Value
from luban.features.kinds import Arrays, BagConfig, Want
from luban.models.base import Refusal
from luban.models.linear import Linear
from luban.models.plan import plan

from .made import HEADS


class Kinds(Feature):
    """A column type that gives the named kinds, and refuses bags of words."""

    storage = None  # type: ignore[assignment]

    def __init__(self, *kinds: str) -> None:
        super().__init__()
        self.encoders = dict.fromkeys(kinds)  # type: ignore[assignment]

    def supports(self, want: Want) -> str | None:
        if want.kind == "bag" and want.config.analyzer == "word":
            return "no words here"
        return super().supports(want)

    def infer(self, sample: Sequence[str]) -> Guess | None:
        raise NotImplementedError

    def parse_value(self, raw: Any) -> Value:
        raise NotImplementedError

    def parts(self, value: Value) -> Parts:
        raise NotImplementedError

    def signals(self, values: Sequence[Value]) -> Arrays:
        raise NotImplementedError


COLUMNS = [("text", Kinds("bag", "tokens")), ("city", Kinds("index")), ("age", Kinds("vector"))]


def test_each_column_gives_the_first_kind_it_can():
    found = plan(FAMILIES.make("linear"), COLUMNS, HEADS["binary"])
    assert [(i.column, i.want.kind, i.converter and i.converter.kind) for i in found.inputs] == [
        ("text", "bag", None),
        ("city", "index", None),
        ("age", "vector", None),
    ]
    assert not found.refusals


def test_what_a_family_cannot_read_goes_through_a_converter():
    found = plan(FAMILIES.make("trees"), COLUMNS, HEADS["binary"])
    assert [(i.column, i.want.kind, i.converter and i.converter.kind) for i in found.inputs] == [
        ("text", "bag", "svd"),
        ("city", "index", "target-encoding"),
        ("age", "vector", None),
    ]


def test_all_wants_of_the_first_kind_that_the_type_supports():
    bags = (BagConfig(), BagConfig(analyzer="word"), BagConfig(ngram_max=2))
    found = plan(Linear(Linear.Config(bags=bags)), COLUMNS[:1], HEADS["binary"])
    assert [i.want.config for i in found.inputs] == [bags[0], bags[2]]


def test_a_column_that_gives_nothing_has_a_reason():
    found = plan(FAMILIES.make("linear"), [*COLUMNS, ("photo", Kinds("pixels"))], HEADS["binary"])
    assert list(found.refusals) == ["photo"]
    assert "pixels" in found.refusals["photo"]


@pytest.mark.parametrize("columns", [[], [("photo", Kinds("pixels"))]])
def test_no_usable_column_is_a_refusal(columns):
    found = plan(FAMILIES.make("trees"), columns, HEADS["binary"])
    assert isinstance(found, Refusal)
    assert "trees" in found.reason


def test_a_family_that_refuses_the_head_is_a_refusal():
    found = plan(FAMILIES.make("linear", {"weighting": "nb"}), COLUMNS, HEADS["real"])
    assert isinstance(found, Refusal)


def told(family: str, *converters: Any) -> Any:
    return FAMILIES.make(family, {"converters": converters})


def test_a_named_converter_comes_before_what_is_read_directly():
    found = plan(told("linear", {"kind": "svd", "dims": 7}), COLUMNS, HEADS["binary"])
    assert [(i.column, i.want.kind, i.converter and i.converter.kind) for i in found.inputs] == [
        ("text", "bag", "svd"),
        ("city", "index", None),
        ("age", "vector", None),
    ]
    assert found.inputs[0].converter.config.dims == 7


def test_several_named_converters_stand_side_by_side():
    found = plan(told("trees", {"kind": "svd", "dims": 7}, "svd"), COLUMNS[:1], HEADS["binary"])
    assert [i.converter.config.dims for i in found.inputs] == [7, 100]


def test_a_named_converter_that_fits_no_column_is_a_refusal():
    found = plan(told("linear", "svd"), COLUMNS[1:], HEADS["binary"])
    assert isinstance(found, Refusal)
    assert "no column can feed the converter svd" in found.reason


def test_a_converter_that_must_be_named_is_never_chosen_by_itself():
    assert isinstance(plan(FAMILIES.make("trees"), [("text", Kinds("tokens"))], HEADS["binary"]), Refusal)
