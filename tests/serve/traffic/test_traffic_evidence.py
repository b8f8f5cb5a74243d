"""Truth as it arrives: a unit counts once, a restart reads the same, what took no part in the draw is left out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import insert

from luban.serve.learning.outcomes import Outcome
from luban.serve.traffic.evidence import ACCURACY, ERROR, Reader, chosen_for_review
from luban.store.ledger import Ledger
from luban.store.tables import reviews

CHAMPION, CHALLENGER = 1, 2


def outcome(number: int, request: str, version: int = CHALLENGER, **more: Any) -> Outcome:
    """What became of one answer; told at a time of its own unless said otherwise."""
    share = 0.2 if version == CHALLENGER else 0.8
    plain: dict[str, Any] = {
        "number": number, "revision": 1, "request_id": request, "position": 0, "model": "reviews",
        "deployment": "default", "version": version, "arm": "x", "unit": None, "share": share, "answered_at": 10.0,
        "told_at": float(number), "answer": {}, "confidence": None, "truth": "good", "correct": True, "error": 0.0,
        "figures": {},
    }  # fmt: skip
    return Outcome(**{**plain, **more})


class Told:
    """Stands in for `Outcomes`: gives a list page by page."""

    def __init__(self, all_of_them: Sequence[Outcome]) -> None:
        self.all = list(all_of_them)

    def after(self, model: str, number: int = 0, limit: int = 1000) -> list[Outcome]:
        return sorted((one for one in self.all if one.number > number), key=lambda one: one.number)[:limit]


def read(told: Told, *metrics: str, reader: Reader | None = None) -> Reader:
    found = reader or Reader(CHALLENGER, CHAMPION, since=5.0, after=0, metrics=metrics or (ACCURACY,))
    found.read(told, "reviews")  # type: ignore[arg-type]
    return found


def test_both_arms_are_added_under_the_share_of_the_draw() -> None:
    told = Told([outcome(1, "a"), outcome(2, "b", CHAMPION, correct=False), outcome(3, "c", CHAMPION)])
    truth = read(told).truths[ACCURACY]
    assert list(truth.pairs) == [0.2], "the champion's 0.8 is the same draw"
    assert (truth.challenger.number, truth.challenger.mean) == (1, 1.0)
    assert (truth.champion.number, truth.champion.mean) == (2, 0.5)


def test_a_caller_counts_once() -> None:
    told = Told([outcome(n, f"r{n}", unit="caller", correct=n > 1) for n in range(1, 6)])
    truth = read(told).truths[ACCURACY]
    assert (truth.challenger.number, truth.challenger.mean) == (1, 0.0)


def test_rows_that_were_told_together_are_one_outcome() -> None:
    rows = [outcome(n, "a", position=n, told_at=1.0, correct=n % 2 == 0) for n in range(1, 5)]
    truth = read(Told(rows)).truths[ACCURACY]
    assert (truth.challenger.number, truth.challenger.mean) == (1, 0.5)


@pytest.mark.parametrize(
    "more",
    [
        {"version": 7},
        {"answered_at": 4.0},
        {"share": None},
        {"share": 1.0},
        {"correct": None, "error": None},
    ],
    ids=["another version", "before it began", "no fair draw", "not drawn", "cannot be said"],
)
def test_what_took_no_part_is_left_out(more: dict[str, Any]) -> None:
    assert read(Told([outcome(1, "a", **more)])).truths[ACCURACY].pairs == {}


def test_figures_and_errors_are_read_by_name() -> None:
    told = Told([outcome(1, "a", error=2.5, figures={"revenue": 7.0}), outcome(2, "b", figures={"clicks": 1.0})])
    found = read(told, ERROR, "revenue").truths
    assert (found[ERROR].challenger.number, found[ERROR].challenger.sum) == (2, 2.5)
    assert (found["revenue"].challenger.number, found["revenue"].challenger.sum) == (1, 7.0)


def test_a_truth_that_is_mended_does_not_count_twice() -> None:
    told = Told([outcome(1, "a", correct=False)])
    reader = read(told)
    told.all = [outcome(9, "a", correct=True, revision=2)]
    read(told, reader=reader)
    assert (reader.truths[ACCURACY].challenger.number, reader.truths[ACCURACY].challenger.sum) == (1, 0.0)


def test_more_than_a_page_of_rows_that_were_told_together() -> None:
    rows = [outcome(n, "a", position=n, told_at=1.0, correct=n <= 1250) for n in range(1, 2501)]
    reader = read(Told([*rows, outcome(2501, "b")]))
    assert reader.caught_up
    assert reader.truths[ACCURACY].challenger.number == 2


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("abcdef"), st.booleans(), st.booleans(), st.integers(0, 2)), min_size=1, max_size=40
    ),
    st.lists(st.integers(1, 40), max_size=4),
)
def test_a_restart_reads_the_same(seen: list[tuple[str, bool, bool, int]], looks: list[int]) -> None:
    """Told in one request or several, looked at now and then or once at the end."""
    outcomes, told_at = [], 0.0
    for number, (unit, challenger, right, gap) in enumerate(seen, 1):
        told_at += gap
        version = CHALLENGER if challenger else CHAMPION
        request = f"{unit}-{version}-{told_at}"
        outcomes.append(outcome(number, request, version, unit=unit, correct=right, told_at=told_at))
    told = Told([])
    reader = Reader(CHALLENGER, CHAMPION, 5.0, 0, (ACCURACY,))
    # Rows that are told together are written together: looks fall between requests.
    ends = [n for n in range(1, len(outcomes)) if outcomes[n].request_id != outcomes[n - 1].request_id]
    for look in sorted(looks):
        if look in ends:
            told.all = outcomes[:look]
            read(told, reader=reader)
    told.all = outcomes
    read(told, reader=reader)
    assert reader.truths == read(Told(outcomes)).truths


def test_rows_decided_because_an_answer_was_unsure_are_no_fair_sample(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    cases = {
        "unsure": ("done", ["confidence"]),
        "drawn": ("done", ["confidence", "sample"]),
        "open": ("open", ["outside"]),
    }
    with ledger.transaction() as tx:
        for request_id, (status, reasons) in cases.items():
            key = {"workspace": tx.workspace, "request_id": request_id, "position": 0, "model": "reviews", "version": 2}
            row = {"time": 1.0, "reasons": json.dumps(reasons), "row": "{}", "answer": "{}", "status": status}
            tx.execute(insert(reviews).values(**key, **row))
    reader = Reader(CHALLENGER, CHAMPION, 5.0, 0, (ACCURACY,), chosen_for_review(ledger))
    told = Told([outcome(number, request_id) for number, request_id in enumerate([*cases, "told by a client"], 1)])
    read(told, reader=reader)
    assert reader.truths[ACCURACY].challenger.number == 3
    ledger.close()
