"""What follows from counts and truth, and that looking often does not make a good canary go back."""

from __future__ import annotations

import random
import re

import pytest

from luban.release.rollout import Canary, CanaryRule, Step, TestRule, Trial
from luban.serve.traffic.counts import Counts, Row, bucket, totals, upper_s
from luban.serve.traffic.evidence import ACCURACY, ERROR, Traffic, Truth
from luban.serve.traffic.verdicts import Verdict, of_canary, of_test

NOW = 1000.0


def counts(requests: int, failed: int = 0, seconds: float = 0.002, share: float = 0.1) -> Counts:
    found = Counts(share)
    for number in range(requests):
        found.answered(number < failed, seconds * (1 + number % 10 / 10))
    return found


def canary(began: float = 0.0, **rule: object) -> Canary:
    made = CanaryRule.model_validate({"steps": (0.1, 0.5), "step_s": 100.0, **rule})
    return Canary(id=1, version=2, rule=made, steps=(Step(share=0.1, since=began, revision=1),))


def judge(
    new: Counts,
    old: Counts,
    truths: dict[str, Truth] | None = None,
    one: Canary | None = None,
    newest: int | None = None,
) -> Verdict:
    traffic = Traffic({0.1: new}, {0.1: old}, (), new.requests if newest is None else newest)
    return of_canary(one or canary(), traffic, truths or {}, NOW)


def truth(new: tuple[int, float], old: tuple[int, float], share: float = 0.1) -> Truth:
    """Numbers of units and mean outcomes of challenger and champion."""
    found = Truth()
    for to_challenger, (number, mean) in ((True, new), (False, old)):
        for unit in range(number):
            found.add(share, to_challenger, float((unit + 1) * mean) // 1 - float(unit * mean) // 1)
    return found


def test_a_canary_that_holds_steps_up() -> None:
    verdict = judge(counts(200, 2), counts(1800, 18))
    assert verdict.act == "step"
    assert "Held at 0.1: 200 requests, 2 of 200 failed against 18 of 1800" in verdict.reason
    assert "No truth has come of its answers: its quality is not known." in verdict.reason


@pytest.mark.parametrize(
    ("one", "newest", "says"),
    [
        (canary(began=950.0), 200, "50 s of this step"),
        (canary(), 40, r"requests \(40 of 100 in this step\)"),
        (canary(quality="required"), 200, r"truth \(0 of 50 answers judged\)"),
    ],
)
def test_it_says_what_it_waits_for(one: Canary, newest: int, says: str) -> None:
    verdict = judge(counts(200), counts(1800), one=one, newest=newest)
    assert verdict.act == "wait"
    assert re.search(says, verdict.reason), verdict.reason


def test_failing_more_often_sends_it_back() -> None:
    verdict = judge(counts(100, 30), counts(900, 9))
    assert verdict == Verdict(
        "roll back", "Its requests fail more often than the champion's: 30 of 100 failed against 9 of 900."
    )


def test_failing_as_the_champion_does_is_held_against_it_only_by_a_bound() -> None:
    assert judge(counts(200, 60), counts(1800, 540)).act == "step"
    verdict = judge(counts(200, 60), counts(1800, 540), one=canary(max_error_rate=0.1))
    assert verdict.reason.startswith("More than 0.1 of its requests fail")


def test_a_caller_who_asks_most_of_all_is_no_evidence() -> None:
    """Half of the requests came to a tenth of the callers; both sides fail alike."""
    assert judge(counts(2000, 200), counts(2000, 200)).act == "step"


def test_slower_answers_send_it_back_and_a_little_slower_ones_do_not() -> None:
    assert judge(counts(300, seconds=0.003), counts(2700)).act == "step"
    verdict = judge(counts(300, seconds=0.008), counts(2700))
    assert verdict.act == "roll back"
    assert verdict.reason.startswith("Its answers take more than 2.5 times the champion's: median")
    assert judge(counts(300, seconds=0.008), counts(2700), one=canary(max_latency_ratio=None)).act == "step"


def test_a_slow_tail_alone_sends_it_back() -> None:
    """Its median is the champion's; one request in five hangs."""
    new, old = counts(300), counts(2700)
    for _ in range(75):
        new.answered(False, 0.5)
    assert judge(new, old).act == "roll back"


def test_being_right_less_often_sends_it_back_as_truth_arrives() -> None:
    worse = {ACCURACY: truth((150, 0.6), (1350, 0.9)), ERROR: Truth()}
    verdict = judge(counts(200), counts(1800), worse)
    assert verdict == Verdict("roll back", "It is right less often: 0.6 of 150 against the champion's 0.9 of 1350.")
    assert judge(counts(200), counts(1800), worse, canary(quality="off")).act == "step"
    alike = {ACCURACY: truth((150, 0.88), (1350, 0.9)), ERROR: Truth()}
    assert "Right answers: 0.88 of 150" in judge(counts(200), counts(1800), alike).reason


def test_a_larger_error_sends_it_back() -> None:
    noisy = Truth()
    chance = random.Random(1)
    for unit in range(4000):
        to_challenger = unit % 10 == 0
        noisy.add(0.1, to_challenger, abs(chance.gauss(0, 3 if to_challenger else 1)))
    verdict = judge(counts(200), counts(1800), {ACCURACY: Truth(), ERROR: noisy})
    assert verdict.act == "roll back"
    assert verdict.reason.startswith("Its error is larger")


def test_a_server_that_cannot_load_it_sends_it_back() -> None:
    traffic = Traffic({}, {}, ("Version 2 of `reviews` is refused: it is damaged.",), 0)
    assert of_canary(canary(), traffic, {}, NOW).act == "roll back"


@pytest.mark.parametrize("seed", range(3))
def test_a_good_canary_is_looked_at_a_thousand_times_and_stays(seed: int) -> None:
    """Same failures, same times, same quality: over all rules and looks, at most one in twenty goes back."""
    gone = 0
    for run in range(20):
        chance = random.Random(1000 * seed + run)
        new, old, right = Counts(0.2), Counts(0.2), Truth()
        for look in range(1000):
            to_challenger = chance.random() < 0.2
            arm = new if to_challenger else old
            arm.answered(chance.random() < 0.02, chance.lognormvariate(-6, 0.5))
            right.add(0.2, to_challenger, float(chance.random() < 0.9))
            if look % 50 == 49:
                traffic = Traffic({0.2: new}, {0.2: old}, (), new.requests)
                if of_canary(canary(), traffic, {ACCURACY: right}, NOW).act == "roll back":
                    gone += 1
                    break
    assert gone <= 3


def trial(**rule: object) -> Trial:
    return Trial(id=1, version=2, rule=TestRule.model_validate(rule), since=0.0)


def test_a_test_says_better_worse_or_chance() -> None:
    assert of_test(trial(), truth((400, 0.95), (400, 0.85), 0.5)).act == "better"
    assert of_test(trial(), truth((400, 0.8), (400, 0.9), 0.5)).act == "worse"
    verdict = of_test(trial(), truth((400, 0.9), (400, 0.89), 0.5))
    assert verdict.act == "wait"
    assert "that may be chance" in verdict.reason


def test_a_business_figure_may_be_better_when_smaller() -> None:
    chance = random.Random(2)
    minutes = Truth()
    for unit in range(2000):
        minutes.add(0.5, unit % 2 == 0, chance.gauss(30 if unit % 2 == 0 else 35, 8))
    assert of_test(trial(metric="minutes"), minutes).act == "worse"
    assert of_test(trial(metric="minutes", smaller_is_better=True), minutes).act == "better"
    assert of_test(trial(metric="error"), minutes).act == "better"
    few = of_test(trial(metric="minutes"), truth((20, 30.0), (20, 35.0), 0.5))
    assert "Waits until each side has 100" in few.reason


def test_nothing_known_is_no_result() -> None:
    assert of_test(trial(), Truth()).act == "wait"
    assert of_test(trial(metric="revenue"), Truth()).act == "wait"


def test_rows_of_all_servers_are_added_by_share() -> None:
    rows = [
        Row(1, "a", 2, counts(10, 1).to_json(), 0.0),
        Row(1, "b", 2, counts(5).to_json(), 0.0),
        Row(3, "a", 2, counts(7, share=0.5).to_json(), 0.0),
        Row(1, "a", 1, counts(100).to_json(), 0.0),
        Row(1, "b", 2, {"refused": "it is damaged"}, 0.0),
    ]
    found = totals(rows, 2)
    assert {share: (one.requests, one.failed) for share, one in found.items()} == {0.1: (15, 1), 0.5: (7, 0)}
    traffic = Traffic.of(rows, 2, 1, 3)
    assert (traffic.newest, traffic.refusals) == (7, ("it is damaged",))


def test_times_are_kept_to_nine_percent() -> None:
    for seconds in (60e-6, 0.001, 0.0123, 1.0, 77.0):
        assert seconds <= upper_s(bucket(seconds)) <= seconds * 2 ** (1 / 8) * 1.0001
    found = counts(100, seconds=0.01)
    assert found.quantile_s(0.5) == pytest.approx(0.0145, rel=0.1)
    assert Counts().quantile_s(0.5) is None
    assert Counts.from_json(found.to_json()) == found
