"""What may be searched, how it is stated, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from luban.catalog import FAMILIES, Choice
from luban.errors import ConfigError
from luban.project import Project, read_project
from luban.train.tune.config import TuneConfig
from luban.train.tune.space import Range, as_stated, declared, with_values


def tune(**settings: Any) -> TuneConfig:
    return TuneConfig.model_validate({"family": "linear", **settings})


def family(kind: str, **settings: Any) -> Choice:
    return Choice(kind, FAMILIES.resolve(kind).Config.model_validate(settings))


def test_every_declared_field_can_be_set_to_its_ends_and_choices() -> None:
    for kind in FAMILIES.own():
        choice = Choice(kind, FAMILIES.resolve(kind).Config())
        for name, found in declared(choice.config).items():
            for value in found.points(3):
                (got,) = as_stated(with_values(choice, {name: value}), [found]).values()
                assert got == value, f"{kind}.{name}"


def test_without_a_space_all_is_searched_that_is_not_stated() -> None:
    names = [found.name for found in tune(family={"kind": "trees", "leaves": 7}).ranges]
    assert "learning_rate" in names
    assert "leaves" not in names
    assert "max_rounds" not in names


def test_a_space_names_narrows_and_widens() -> None:
    stated = {"c": ["1e-1", 1000], "weighting": "auto", "c_table": [1, 2, 5], "smoothing": {"high": 0.5, "log": False}}
    c, weighting, c_table, smoothing = tune(space=stated).ranges
    assert (c.low, c.high, c.log) == (0.1, 1000, True)
    assert weighting.choices == ("tfidf", "nb")
    assert c_table.choices == (1, 2, 5)
    assert (smoothing.low, smoothing.high, smoothing.log) == (0.01, 0.5, False)


def test_a_range_from_zero_is_not_searched_by_orders_of_magnitude() -> None:
    (l2,) = tune(family="trees", space={"l2": [0, 10]}).ranges
    assert not l2.log


def test_fields_of_fields() -> None:
    config = tune(space={"bags.0.ngram_max": [2, 5]})
    settings = with_values(config.family, {"bags.0.ngram_max": 5, "c": 2.0}).config.model_dump()
    assert settings["bags"][0]["ngram_max"] == 5
    assert settings["c"] == 2.0
    two = tune(
        family={"kind": "linear", "c": 3, "bags": [{}, {"analyzer": "word"}]}, space={"bags.1.ngram_max": [2, 3]}
    )
    bags = with_values(two.family, {"bags.1.ngram_max": 2}).config.model_dump()["bags"]
    assert [(bag["analyzer"], bag["ngram_max"]) for bag in bags] == [("char", 4), ("word", 2)]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"space": {"max_iterations": [1, 9]}}, ["`max_iterations` cannot be searched", "c_table", "weighting"]),
        ({"space": {"wieghting": ["nb"]}}, ["did you mean `weighting`"]),
        ({"space": {"c": [-1, 10]}}, ["`c` cannot be -1", "greater than 0"]),
        ({"space": {"c": [10, 1]}}, ["from low to high"]),
        ({"space": {"c": ["few", 1]}}, ["must be a number"]),
        ({"space": {"weighting": ["tfidf", "bm25"]}}, ["`weighting` cannot be bm25"]),
        ({"space": {"weighting": {"low": 1, "high": 2}}}, ["has no range"]),
        ({"space": {"c": []}}, ["is empty"]),
        ({"family": "trees", "space": {"leaves": [4.5, 9]}}, ["whole ends"]),
        ({"family": "trees", "space": {"l2": {"low": 0, "log": True}}}, ["above 0"]),
        ({"family": "baseline"}, ["baseline has none"]),
        ({"trials": 0}, ["greater than or equal to 1"]),
    ],
)
def test_what_cannot_be_searched_is_refused(settings: dict[str, Any], says: list[str]) -> None:
    raw = {"name": "a", "data": {"source": "a.csv"}, "tune": {"family": "linear", **settings}}
    with pytest.raises(ConfigError) as refused:
        read_project(raw, "luban.yaml")
    for part in says:
        assert part in str(refused.value)


def test_it_reads_back() -> None:
    raw = {"name": "a", "data": {"source": "a.csv"}, "tune": {"family": "linear", "space": {"c": [1, 2]}}}
    project = read_project(raw, "luban.yaml")
    again = Project.model_validate(project.model_dump(mode="json"))
    assert again.tune is not None
    assert project.tune is not None
    assert again.tune.ranges == project.tune.ranges
    assert again.tune.identity() == project.tune.identity()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.floats(1e-6, 1e3), st.floats(1e-6, 1e3), st.booleans(), st.booleans(), st.integers(2, 9))
def test_points_lie_inside_and_have_both_ends(a: float, b: float, log: bool, whole: bool, count: int) -> None:
    low, high = min(a, b), max(a, b)
    if whole:
        low, high = float(round(low) + 1), float(round(high) + 1)
    found = Range("x", low, high, log, whole).points(count)
    assert len(found) <= count
    assert found == sorted(found)  # type: ignore[type-var]
    for end, value in ((low, found[0]), (high, found[-1])):
        assert value == pytest.approx(end, rel=1e-5)
