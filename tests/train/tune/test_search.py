"""The search on a bench that trains nothing: what is asked, given up, recorded and told."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from luban.catalog import Choice
from luban.errors import MissingExtra
from luban.models.base import Refusal
from luban.train.tune.config import TuneConfig
from luban.train.tune.halving import goes_on, rungs
from luban.train.tune.sampler import combinations
from luban.train.tune.search import Result, Search

SPACE = {"c": [0.1, 100.0], "weighting": ["tfidf", "nb"]}


class Made:
    """A bench whose losses are a formula of c; `decisions` outlive it, as a ledger does."""

    def __init__(self, num_rows: int = 100, decisions: dict[str, Any] | None = None, seconds: float = 1.0) -> None:
        self.num_rows, self.seed = num_rows, 3
        self.decisions = {} if decisions is None else decisions
        self.seconds = seconds
        self.rows: list[tuple[str, str, str]] = []
        self.attempts: list[tuple[str, float, float]] = []

    def attempt(self, name: str, choice: Choice, share: float, seconds_left: float) -> Result | Refusal:
        self.attempts.append((name, share, seconds_left))
        c = choice.config.c  # type: ignore[attr-defined]
        if 20 < c < 25:
            return Refusal("no c between 20 and 25")
        return Result(abs(c - 40.0) / 100 + (1 - share), self.seconds)

    def decide(self, key: str, make: Callable[[], Any]) -> Any:
        return self.decisions[key] if key in self.decisions else self.decisions.setdefault(key, make())

    def row(self, name: str, choice: Choice, status: str, result: Result | None, reason: str) -> None:
        self.rows.append((name, status, reason))


def searched(bench: Made, **settings: Any) -> Search:
    search = Search(TuneConfig.model_validate({"family": "linear", "space": SPACE, **settings}), bench)
    search.run()
    return search


@pytest.mark.parametrize("sampler", ["tpe", "random", "grid"])
def test_a_search_that_was_cut_off_asks_the_same(sampler: str) -> None:
    whole = Made(5000)
    searched(whole, sampler=sampler, trials=12)
    for kept in (0, 1, 5, 11):
        again = Made(5000, dict(list(whole.decisions.items())[:kept]))
        searched(again, sampler=sampler, trials=12)
        assert again.decisions == whole.decisions
        assert again.rows == whole.rows


def test_the_first_trial_is_what_is_stated() -> None:
    bench = Made()
    search = searched(bench, trials=1)
    assert search.trials[0].values == {"c": 10.0, "weighting": "tfidf"}
    assert bench.rows == [("linear#1", "trained", "c=10, weighting=tfidf")]


def test_tpe_finds_more_than_chance() -> None:
    losses = {s: [] for s in ("tpe", "random")}  # type: ignore[var-annotated]
    for seed in range(5):
        for sampler, found in losses.items():
            bench = Made()
            bench.seed = seed
            found.append(searched(bench, sampler=sampler, trials=40).best[0].loss)
    assert sum(losses["tpe"]) < sum(losses["random"])


def test_a_grid_tries_each_combination_once_and_ends() -> None:
    bench = Made()
    search = searched(bench, sampler="grid", trials=100, grid_points=3, pruner="none")
    tried = [tuple(trial.values.values()) for trial in search.trials]
    assert len(tried) == len(set(tried)) == 6
    assert search.stopped == "nothing is left that was not tried"


def test_a_large_grid_is_drawn_from() -> None:
    config = TuneConfig.model_validate({"family": "trees"})
    found = combinations(config.ranges, 20, seed=1)
    assert 0 < len(found) <= 1000
    assert found == combinations(config.ranges, 20, seed=1)


def test_a_small_space_is_exhausted() -> None:
    search = searched(Made(), sampler="random", space={"weighting": ["tfidf", "nb"]}, trials=50)
    assert len(search.trials) == 2
    assert "nothing is left" in search.stopped


def test_halving_trains_few_on_all_rows() -> None:
    bench = Made(9000)
    search = searched(bench, trials=30, pruner="halving")
    whole = [name for name, share, _ in bench.attempts if share == 1.0]
    assert len(whole) < 20
    assert len([1 for _, share, _ in bench.attempts if share == 1 / 9]) == 30
    pruned = [row for row in bench.rows if row[1] == "pruned"]
    assert pruned
    assert "of the rows, not in the best third of" in pruned[0][2]
    assert search.best[0].loss == min(t.loss for t in search.trials if t.loss is not None)
    assert len(searched(Made(9000), trials=30, pruner="none").best) > len(search.best)


def test_auto_halves_only_where_time_is_short() -> None:
    for budget, pruner in ((1000, "none"), (20, "halving")):
        bench = Made(9000)
        search = searched(bench, trials=30, time_budget_s=budget)
        assert (search.pruner, search.report()["pruner"], bench.decisions["linear#:pruner"]) == (pruner,) * 3
        assert bench.attempts[0][:2] == ("linear#1", 1.0), "the first is trained whole: the others are reckoned by it"
        assert any(share < 1 for _, share, _ in bench.attempts) == (pruner == "halving")
        slower = Made(9000, decisions=dict(bench.decisions), seconds=50.0)
        assert searched(slower, trials=30, time_budget_s=budget).pruner == pruner, "what was decided is followed"
    few = Made(500)
    assert searched(few, trials=30, time_budget_s=20).pruner == "none"


def test_rungs_of_few_rows_are_left_out() -> None:
    assert rungs(599) == ()
    assert rungs(600) == (1 / 3,)
    assert goes_on(1.0, [2.0, 3.0, 4.0])
    assert not goes_on(3.0, [1.0, 2.0])


def test_a_refused_trial_is_said_and_the_search_goes_on() -> None:
    bench = Made()
    search = searched(bench, sampler="grid", space={"c": [10.0, 22.0, 40.0]}, pruner="none", trials=9)
    assert [reason for _, status, reason in bench.rows if status == "refused"] == ["c=22: no c between 20 and 25"]
    assert search.best[0].values == {"c": 40.0}
    assert search.report()["counts"] == {"trained": 2, "pruned": 0, "refused": 1}


def test_settings_that_contradict_each_other_are_refused_as_a_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Made()
    bench.decisions["linear#1:asked"] = {"values": {"c": -1.0}}
    searched(bench, trials=2)
    assert bench.rows[0][1] == "refused"
    assert "greater than 0" in bench.rows[0][2]
    assert bench.rows[1][1] == "trained"


def test_seconds_end_the_search_and_bound_the_last_trial() -> None:
    bench = Made(seconds=4.0)
    search = searched(bench, trials=50, time_budget_s=10)
    assert len(search.trials) == 3
    assert search.stopped == "time_budget_s (10) spent"
    assert [left for _, _, left in bench.attempts] == [10, 6, 2]
    assert bench.decisions["linear#4:asked"] == {"stop": "time_budget_s (10) spent"}
    faster = Made(decisions=dict(bench.decisions), seconds=0.0)
    assert searched(faster, trials=50, time_budget_s=10).report()["trials"] == search.report()["trials"]


def test_without_optuna_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtra, match=r'pip install "luban\[tune\]"'):
        searched(Made(), trials=2)
    assert searched(Made(), sampler="grid", trials=2).best


def test_the_best_can_be_copied() -> None:
    stated = {"kind": "linear", "scale": "quantile", "bags": [{"analyzer": "word"}]}
    search = searched(Made(), family=stated, space={"c": [39, 41], "bags.0.ngram_max": [2, 3]}, trials=5)
    copied = yaml.safe_load(search.report()["best_yaml"])
    values = search.best[0].values
    assert copied == {
        **stated, "c": values["c"], "bags": [{"analyzer": "word", "ngram_max": values["bags.0.ngram_max"]}]
    }  # fmt: skip
    TuneConfig.model_validate({"family": copied})
