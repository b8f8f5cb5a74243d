"""Money: thresholds are the best there are on validation rows, and are judged on test rows."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luban.errors import ConfigError
from luban.evaluate.config import CostsConfig
from luban.evaluate.costs import costs, worth_of
from luban.evaluate.findings import Costs, Money
from luban.evaluate.scored import Scored

pytest.importorskip("scipy")
NAMES = ["neg", "pos"]
MISSED = CostsConfig(per_error={"pos->neg": 50, "neg->pos": 5}, per_right={"pos": 2}, review=None)


def two(num_rows: int, seed: int, temperature: float = 1.0) -> Scored:
    rng = np.random.default_rng(seed)
    second = rng.uniform(size=num_rows)
    truth = (rng.uniform(size=num_rows) < second).astype(np.int64)
    logits = np.log(second / (1 - second)) / temperature
    given_ = 1 / (1 + np.exp(-logits))
    return Scored(truth, np.stack([1 - given_, given_], axis=1), threshold=0.5)


def policy(found: Costs, name: str) -> Money:
    return next(one for one in found.money if one.policy == name)


def test_with_honest_probabilities_the_threshold_is_that_of_elkan() -> None:
    found = costs(MISSED, NAMES, two(20_000, 0), two(20_000, 1), 0.95)
    assert found.by_probability == pytest.approx(5 / 57, abs=1e-6)
    assert found.threshold == pytest.approx(5 / 57, abs=0.04)
    assert (found.positive, found.review_from, found.num_valid) == ("pos", None, 20_000)
    chosen, now, constant = (policy(found, name) for name in ("chosen", "now", "constant"))
    assert chosen.value > max(now.value, constant.value)
    assert now.gain_low is not None
    assert now.gain_low > 0, "surely better than a half"
    assert now.gain == pytest.approx(chosen.value - now.value)
    assert constant.answer == "pos"
    assert found.break_even_row == pytest.approx(constant.gain / 1000)
    assert "`pos` from a probability of" in found.advice


def test_probabilities_that_are_not_honest_move_the_threshold_but_not_the_money() -> None:
    honest = costs(MISSED, NAMES, two(20_000, 0), two(20_000, 1), 0.95)
    hot = costs(MISSED, NAMES, two(20_000, 0, 3.0), two(20_000, 1, 3.0), 0.95)
    assert hot.threshold is not None
    assert honest.threshold is not None
    assert hot.threshold > honest.threshold + 0.1
    assert policy(hot, "chosen").value == pytest.approx(policy(honest, "chosen").value, rel=0.01)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 10)), min_size=1, max_size=25),
    st.integers(0, 9),
    st.integers(0, 9),
    st.none() | st.integers(0, 5),
)
def test_no_pair_of_thresholds_earns_more_on_the_rows_it_was_chosen_on(
    rows: list[tuple[bool, int]], missed: int, false: int, review: int | None
) -> None:
    truth = np.array([int(positive) for positive, _ in rows])
    second = np.array([score / 10 for _, score in rows])
    scored = Scored(truth, np.stack([1 - second, second], axis=1), threshold=0.5)
    config = CostsConfig(per_error={"pos->neg": missed, "neg->pos": false}, per_right={"*": 1}, review=review)
    found = costs(config, NAMES, scored, scored, 0.95)
    worth, _ = worth_of(config, NAMES)
    grid = np.arange(-0.05, 1.2, 0.1)
    best = -np.inf
    for low in grid:
        for high in grid[grid >= low] if review is not None else [low]:
            asked = (second >= low) & (second < high)
            money = np.where(asked, 1.0 - (review or 0), worth[truth, (second >= high).astype(int)])
            best = max(best, money.mean() * 1000)
    certain = second.max() == 1.0  # a threshold is told as one at most, so a certain row is always given the class
    assert policy(found, "chosen").value <= best + 1e-6
    if not certain:
        assert policy(found, "chosen").value == pytest.approx(best)


def test_a_person_is_asked_where_neither_answer_is_sure() -> None:
    config = CostsConfig(per_error={"pos->neg": 50, "neg->pos": 50}, review=5)
    found = costs(config, NAMES, two(20_000, 0), two(20_000, 1), 0.95)
    assert found.threshold == pytest.approx(0.9, abs=0.03)
    assert found.review_from == pytest.approx(0.1, abs=0.03)
    assert policy(found, "chosen").reviewed == pytest.approx(0.8, abs=0.05)
    assert policy(found, "person").value == pytest.approx(-5000)
    assert policy(found, "person").error == 0
    assert policy(found, "person").gain > 0
    assert found.break_even_review == pytest.approx(50 * 0.25, rel=0.05), "a half is wrong by a quarter of all rows"
    assert "ask a person between" in found.advice


def many(num_rows: int, num_classes: int, seed: int) -> Scored:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, num_classes, num_rows)
    logits = rng.normal(size=(num_rows, num_classes)) * 2
    logits[np.arange(num_rows), truth] += 2
    e = np.exp(logits)
    return Scored(truth, e / e.sum(axis=1, keepdims=True))


def test_more_classes_have_a_confidence_to_answer_from() -> None:
    config = CostsConfig(per_error={"*->*": 10}, per_right={"*": 1}, review=3)
    found = costs(config, list("abcde"), many(4000, 5, 0), many(4000, 5, 1), 0.95)
    assert found.threshold is not None
    assert 0 < found.threshold < 1
    chosen, now = policy(found, "chosen"), policy(found, "now")
    assert 0 < chosen.reviewed < 1
    assert chosen.value > now.value
    assert found.positive is None
    nobody = costs(CostsConfig(per_error={"*->*": 10}), list("abcde"), many(500, 5, 0), many(500, 5, 1), 0.95)
    assert nobody.threshold is None
    assert "no threshold" in nobody.advice


def test_what_is_stated_for_one_class_replaces_what_is_stated_for_any() -> None:
    config = CostsConfig(per_error={"*->*": 1, "a->*": 2, "*->c": 3, "a->c": 4}, per_right={"b": 7, "*": 5})
    worth, free = worth_of(config, ["a", "b", "c"])
    assert worth.tolist() == [[5, -2, -4], [-1, 7, -3], [-1, -1, 5]]
    assert free == ()
    assert worth_of(CostsConfig(per_error={"a->b": 1}), ["a", "b"])[1] == ("b->a",)
    assert worth_of(CostsConfig(per_error={"x->y->z": 1}), ["x->y", "z"])[0][0, 1] == -1


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (CostsConfig(per_error={"poz->neg": 1}), "class `poz`"),
        (CostsConfig(per_error={"pos": 1}), "truth->answer"),
        (CostsConfig(per_right={"posi": 1}), "class `posi`"),
    ],
)
def test_classes_that_are_not_there_are_refused(config: CostsConfig, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        costs(config, NAMES, two(10, 0), two(10, 1), 0.95)


def test_without_validation_rows_there_is_no_recommendation() -> None:
    found = costs(MISSED, NAMES, None, two(10, 1), 0.95)
    assert found.threshold is None
    assert found.reason == "there are no validation rows to choose on"


def test_numbers_have_no_errors_by_class() -> None:
    rows = Scored(np.zeros(3), values=np.zeros(3))
    assert costs(MISSED, [], rows, rows, 0.95).reason


@pytest.mark.parametrize("truth", [0, 1])
def test_rows_of_one_class_and_single_rows(truth: int) -> None:
    rows = two(1, 0)
    one = Scored(np.array([truth]), rows.probability, threshold=0.5)
    found = costs(MISSED, NAMES, one, one, 0.95)
    assert policy(found, "chosen").low is None
    json.dumps(found.to_json(), allow_nan=False)


def test_intervals_widen_where_rows_hang_together() -> None:
    valid, base = two(1000, 0), two(200, 1)
    repeated = base.take(np.repeat(np.arange(200), 10))
    clusters = np.repeat(np.arange(200), 10)
    rows = policy(costs(MISSED, NAMES, valid, repeated, 0.95), "now")
    whole = policy(costs(MISSED, NAMES, valid, repeated, 0.95, clusters), "now")
    assert rows.low is not None
    assert whole.low is not None
    assert rows.value - rows.low < (whole.value - whole.low) / 2
