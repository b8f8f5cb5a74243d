"""What follows from the evidence: pure functions, so that one can ask at any time, also without acting.

A canary goes back where one of these holds, each at its part of `alpha` over all looks (`evaluate.sequential`):

    requests fail more often than the champion's     betting on failed or not
    they fail more often than `max_error_rate`       betting against that rate
    answers take more than `max_latency_ratio` times the champion's: for each time t, more of the canary's take longer
                                                     than ratio * t than of the champion's longer than t; all t together
    it is right less often, or its error is larger   betting, or a confidence sequence, as truth arrives

or where a server cannot load it. It steps up once the step has lasted, had its requests, and (`quality: required`) its
truths. Missing truth is said in every reason.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from luban.evaluate.sequential import Moments, Totals, above, betting, difference, pooled
from luban.release.rollout import Canary, Trial
from luban.serve.traffic.counts import NUM_BUCKETS, PER_OCTAVE, Counts
from luban.serve.traffic.evidence import ACCURACY, ERROR, Traffic, Truth

Act = Literal["wait", "step", "roll back", "better", "worse"]


@dataclass(frozen=True)
class Verdict:
    """What to do, and why in a sentence or two."""

    act: Act
    reason: str


def of_canary(canary: Canary, traffic: Traffic, truths: dict[str, Truth], now: float) -> Verdict:
    """What follows for a running canary; `now` in seconds since 1970, by the ledger's clock."""
    for refusal in traffic.refusals:
        return Verdict("roll back", f"A server cannot serve it. {refusal}")
    rule = canary.rule
    rules = 1 + (rule.max_error_rate is not None) + (rule.max_latency_ratio is not None) + (rule.quality != "off")
    alpha = rule.alpha / rules
    for found in (
        _fails(traffic, alpha, rule.max_error_rate),
        _slow(traffic, alpha, rule.max_latency_ratio),
        _worse(truths, alpha) if rule.quality != "off" else None,
    ):
        if found is not None:
            return Verdict("roll back", found)
    judged = _judged(truths)
    waits = _waits(canary, traffic.newest, judged, now)
    truth = _of_truth(canary, truths, judged)
    if waits:
        return Verdict("wait", f"Waits for {waits}. {truth}")
    step = canary.steps[-1]
    return Verdict("step", f"Held at {step.share:.4g}: {traffic.newest} requests, {_failures(traffic)}. {truth}")


def of_test(test: Trial, truth: Truth) -> Verdict:
    """What follows for a running A/B test."""
    rule, new, old = test.rule, truth.challenger, truth.champion
    told = f"{rule.metric}: {_mean(new)} against the champion's {_mean(old)}"
    if rule.metric == ACCURACY:
        found = betting(truth.totals())
        told = f"{told}, p {found.p:.3g} at any look"
        if found.higher(rule.alpha / 2) or found.lower(rule.alpha / 2):
            return Verdict("better" if found.higher(rule.alpha / 2) else "worse", f"{told}.")
        return Verdict("wait", f"{told}: that may be chance.")
    least = int(min(new.number, old.number))
    if least < rule.min_units:
        return Verdict("wait", f"{told}. Waits until each side has {rule.min_units} with a known outcome.")
    interval = difference(truth.groups(), rule.alpha)
    if interval is None:
        return Verdict("wait", f"{told}: too little is known under any one share.")
    told = f"{told}, a difference of {interval.value:+.4g} ({interval.low:+.4g} to {interval.high:+.4g})"
    if interval.low > 0 or interval.high < 0:
        return Verdict("better" if (interval.value < 0) == rule.falls else "worse", f"{told}.")
    return Verdict("wait", f"{told}: that may be chance.")


def _fails(traffic: Traffic, alpha: float, most: float | None) -> str | None:
    # Many requests may be one caller's, who stays at one arm: how many came to which says nothing (`share=None`).
    groups = [Totals(None, new.requests, new.failed, old.requests, old.failed) for _, new, old in traffic.both()]
    if betting(groups).higher(alpha):
        return f"Its requests fail more often than the champion's: {_failures(traffic)}."
    number, failed = sum(int(g.challenger) for g in groups), sum(int(g.challenger_sum) for g in groups)
    if most is not None and above(number, failed, most) >= -math.log(alpha):
        return f"More than {most:.4g} of its requests fail: {_failures(traffic)}."
    return None


def _slow(traffic: Traffic, alpha: float, ratio: float | None) -> str | None:
    if ratio is None:
        return None
    shift = math.ceil(math.log2(ratio) * PER_OCTAVE - 1e-9)
    groups = []
    for _, new, old in traffic.both():
        slower, longer = _above_each(new)[shift:], _above_each(old)[: NUM_BUCKETS - shift]
        groups.append(
            Totals(
                None, np.full(len(slower), float(sum(new.buckets))), slower,
                np.full(len(longer), float(sum(old.buckets))), longer,
            )
        )  # fmt: skip
    if not groups or pooled(np.asarray(betting(groups).log_higher)) < -math.log(alpha):
        return None
    new, old = (_together(arm) for arm in (traffic.challenger, traffic.champion))
    halves = [f"{_ms(new.quantile_s(at))} against {_ms(old.quantile_s(at))} ms" for at in (0.5, 0.95)]
    return f"Its answers take more than {ratio:.4g} times the champion's: median {halves[0]}, p95 {halves[1]}."


def _above_each(counts: Counts) -> np.ndarray:
    """How many took longer than the upper edge of each bucket, [NUM_BUCKETS] float64."""
    found: np.ndarray = sum(counts.buckets) - np.cumsum(np.array(counts.buckets, float))
    return found


def _worse(truths: dict[str, Truth], alpha: float) -> str | None:
    right, error = truths.get(ACCURACY, Truth()), truths.get(ERROR, Truth())
    if right.pairs:
        if betting(right.totals()).lower(alpha):
            return f"It is right less often: {_mean(right.challenger)} against the champion's {_mean(right.champion)}."
        return None
    enough = [pair for pair in error.groups() if min(float(one.number) for one in pair) >= 50]
    interval = difference(enough, 2 * alpha)
    if interval is not None and interval.low > 0:
        return f"Its error is larger: {_mean(error.challenger)} against the champion's {_mean(error.champion)}."
    return None


def _waits(canary: Canary, newest: int, judged: int, now: float) -> str:
    rule, waits = canary.rule, []
    left_s = canary.steps[-1].since + rule.step_s - now
    if left_s > 0:
        waits.append(f"{left_s:.0f} s of this step")
    if newest < rule.min_requests:
        waits.append(f"requests ({newest} of {rule.min_requests} in this step)")
    if rule.quality == "required" and judged < rule.min_truths:
        waits.append(f"truth ({judged} of {rule.min_truths} answers judged)")
    return ", ".join(waits)


def _of_truth(canary: Canary, truths: dict[str, Truth], judged: int) -> str:
    if canary.rule.quality == "off":
        return "Quality is not looked at."
    if judged < canary.rule.min_truths:
        known = "No truth has come" if not judged else f"Truth has come for only {judged}"
        return f"{known} of its answers: its quality is not known."
    right = truths.get(ACCURACY, Truth())
    told = right if right.pairs else truths.get(ERROR, Truth())
    word = "Right answers" if right.pairs else "Mean error"
    return f"{word}: {_mean(told.challenger)} against the champion's {_mean(told.champion)}."


def _judged(truths: dict[str, Truth]) -> int:
    return max((int(truth.challenger.number) for truth in truths.values()), default=0)


def _together(arm: dict[float, Counts]) -> Counts:
    found = Counts()
    for one in arm.values():
        found.add(one)
    return found


def _failures(traffic: Traffic) -> str:
    new, old = _together(traffic.challenger), _together(traffic.champion)
    return f"{new.failed} of {new.requests} failed against {old.failed} of {old.requests}"


def _mean(of: Moments) -> str:
    return "nothing" if of.mean is None else f"{of.mean:.4g} of {int(of.number)}"


def _ms(seconds: float | None) -> str:
    return "?" if seconds is None else f"{seconds * 1000:.3g}"
