"""The chosen candidate, trained again only to learn about it: on fewer rows, and under other seeds.

    fit             loss on training rows beside the loss on validation rows
    learning_curve  loss on the same validation rows after 1/8, 1/4, 1/2 and all of the training rows
    more_rows       what the last doubling says of collecting more
    stability       how far other seeds come out elsewhere

Decided here: nothing of this changes what is released. Shares of rows hold each other, class by class, in the order of
a hash of what hangs together. A vote keeps its weights; rounds and steps are decided anew. Intervals are of
the validation rows alone, resampled by what hangs together (Efron and Tibshirani 1993, ch. 13), the same
resamples for all points, so that the gain of a doubling is paired. With folds all of this is of the first fold.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from luban.catalog import FAMILIES, Choice
from luban.data.splits import uniform
from luban.models.base import Refusal
from luban.models.graph_model import GraphModel
from luban.train.candidate import Candidate, Spec, calibrated_loss
from luban.train.encode import TrainData
from luban.train.folds import strata, units
from luban.train.way import Tools, Way, attempt, fit, key_of, teachable, voters_of

SHARES = (1 / 8, 1 / 4, 1 / 2)
LEAST_ROWS = 20
"""A point of fewer training rows is left out, and so is one on whose rows the model cannot be trained."""
MOST_ROWS = 5_000
"""Training rows that are asked for the loss on them."""
RESAMPLES, WORK = 500, 20_000_000
"""Resamples, and resamples times rows at most; but never under 100."""
LEVEL = 0.95
HARDLY, FAINTLY = 0.01, 0.002
"""Shares of the model's and of the baseline's loss: a doubling that gains less than both hardly helps."""
_APART = 0x43555256
"""Added to the seed, so that shares of rows are drawn apart from the split."""


def study(way: Way, tools: Tools, chosen: Candidate, done: Sequence[Candidate], seconds_left: float) -> dict[str, Any]:
    """`fit`, `learning_curve`, `more_rows` and `stability` of the training report; null where they were not looked at.

    Whether the curve is drawn, where that is `auto`, is a decision: what is left of the budget must suffice.
    """
    nothing = {"fit": None, "learning_curve": None, "more_rows": None, "stability": None}
    if not len(way.ground.y("valid")):
        return nothing
    again = Again(way, tools, chosen, done)
    asked = tools.config.learning_curve
    if asked == "auto":
        asked = tools.decide("learning_curve", lambda: again.cost_s <= seconds_left)
    drawn = again.curve() if asked else {}
    seeds = tools.config.seeds
    return {**nothing, "fit": again.fit(), **drawn, "stability": again.stability(seeds) if seeds > 1 else None}


@dataclass(frozen=True)
class Again:
    """One candidate of a training run that is looked at closely."""

    way: Way
    tools: Tools
    chosen: Candidate
    done: Sequence[Candidate]

    @property
    def ground(self) -> TrainData:
        """The rows that fits here learn from and are judged on."""
        return self.way.ground

    @cached_property
    def voters(self) -> list[Candidate]:
        """What the candidate combines."""
        return voters_of(self.chosen, self.done)

    @cached_property
    def whole(self) -> Candidate:
        """The candidate as it was trained on all training rows of the ground."""
        if not self.chosen.folds and not any(voter.folds for voter in self.voters):
            return self.chosen
        return self._of([_first_fold(one) for one in self.voters or [self.chosen]], self.ground, "first fold")

    @property
    def cost_s(self) -> float:
        """Seconds that the curve is going to take, by those that the candidate took."""
        fits = self.voters or [self.chosen]
        return float(sum(SHARES) * sum(one.facts["seconds"] / max(len(one.folds), 1) for one in fits))

    def _trained(self, data: TrainData, what: str) -> Candidate | Refusal:
        """The candidate trained on other data, or why it could not be; `what` tells it from others."""

        def make() -> Candidate:
            return self._of([self._one(voter.spec, data, what) for voter in self.voters or [self.chosen]], data, what)

        return attempt(self.tools, f"again:{what}", make)

    def _one(self, spec: Spec, data: TrainData, what: str) -> Candidate:
        choice = spec.choice if teachable(data) else Choice("baseline", FAMILIES.resolve("baseline").Config())
        decide = lambda key, make: self.tools.decide(f"{what}:{key}", make)  # noqa: E731
        seconds = lambda: max(2 * float(self.chosen.facts["seconds"]), 10.0)  # noqa: E731
        key, label = f"again:{what}:{key_of(spec)}", f"{spec.name}, {what}"
        return fit(self.tools, key, replace(spec, choice=choice), data, (), seconds, label, decide)

    def _of(self, made: list[Candidate], data: TrainData, what: str) -> Candidate:
        """What the vote makes of these members; the one itself where nothing is combined."""
        if not self.voters:
            return made[0]
        key, label = f"again:{what}:{key_of(self.chosen.spec)}", f"{self.chosen.spec.name}, {what}"
        return fit(self.tools, key, self.chosen.spec, data, made, label=label)

    def fit(self) -> dict[str, Any]:
        """Losses on training and on validation rows, both after the calibration on validation rows."""
        data, whole = self.ground, self.whole
        sample = data.rows["train"].only(nested(data, min(1.0, MOST_ROWS / len(data.y("train")))))
        seen = data.with_rows({**data.rows, "valid": sample})
        outputs = GraphModel(whole.graph).predict(seen.arrays(whole.encoders, "valid"))
        decoding = data.task.calibrate(data.target_encoder, whole.valid, data.y("valid"))
        return {
            "train_loss": data.task.loss(outputs, seen.y("valid"), decoding),
            "valid_loss": data.task.loss(whole.valid, data.y("valid"), decoding),
            "train_rows": len(outputs),
            "valid_rows": len(whole.valid),
        }

    def curve(self) -> dict[str, Any]:
        """The learning curve, and what it says of more rows."""
        data, points = self.ground, []
        for share in SHARES:
            rows = nested(data, share)
            if len(rows) >= LEAST_ROWS:
                part = data.with_rows({**data.rows, "train": data.rows["train"].only(rows)})
                found = self._trained(part, f"on 1/{round(1 / share)} of the rows")
                points += [(len(rows), found.valid)] if isinstance(found, Candidate) else []
        points.append((len(data.y("train")), self.whole.valid))
        losses = resampled(data, [outputs for _, outputs in points])
        said = []
        for (count, outputs), of_point in zip(points, losses.T, strict=True):
            loss, (low, high) = calibrated_loss(data, outputs, data.y("valid")), interval(of_point)
            said.append({"rows": count, "loss": loss, "low": low, "high": high})
        return {"learning_curve": said, "more_rows": reading(said, losses, self.done[0].loss)}

    def stability(self, seeds: int) -> dict[str, Any]:
        """The candidate under `seeds` − 1 other seeds, on the same rows; `failed` says why where one gave no model."""
        data = self.ground
        outputs, failed = {data.seed: self.whole.valid}, {}
        for seed in range(data.seed + 1, data.seed + seeds):
            found = self._trained(data.with_rows(data.rows, seed=seed), f"under seed {seed}")
            if isinstance(found, Candidate):
                outputs[seed] = found.valid
            else:
                failed[str(seed)] = found.reason
        losses = [calibrated_loss(data, z, data.y("valid")) for z in outputs.values()]
        spread = float(np.std(losses, ddof=1)) if len(losses) > 1 else None
        compared = self._changes(list(outputs.values()))
        return {"seeds": list(outputs), "losses": losses, "spread": spread, "failed": failed, **compared}

    def _changes(self, outputs: Sequence[np.ndarray]) -> dict[str, float | None]:
        """Share of validation rows whose answer another seed changes; of numbers by how much, in their own unit."""
        if len(outputs) < 2:
            return {"changed": None, "ever_changed": None, "difference": None}
        data = self.ground
        decoding = data.task.calibrate(data.target_encoder, outputs[0], data.y("valid"))
        answers = [next(iter(data.task.decode(z, decoding, data.task.Options()).columns.values())) for z in outputs]
        if data.head.kind == "real":
            values = np.array(answers, np.float64)
            off = float(np.sqrt(np.mean((values[1:] - values[0]) ** 2)))
            return {"changed": None, "ever_changed": None, "difference": off}
        differs = np.array([[a != b for a, b in zip(answers[0], other, strict=True)] for other in answers[1:]])
        ever = float(differs.any(axis=0).mean())
        return {"changed": float(differs.mean()), "ever_changed": ever, "difference": None}


def _first_fold(candidate: Candidate) -> Candidate:
    """The model of the first fold, under the candidate's name."""
    return replace(candidate.folds[0], spec=candidate.spec)


def nested(data: TrainData, share: float) -> np.ndarray:
    """Positions [M] int64, ascending, of a share of the training rows; a larger share holds a smaller one."""
    y, chance = data.y("train"), uniform(units(data, data.rows["train"]), data.seed + _APART)
    stratum = strata(y, data.head)
    order = np.lexsort((chance, stratum))
    groups = np.split(order, np.flatnonzero(np.diff(stratum[order])) + 1)
    return np.sort(np.concatenate([rows[: math.ceil(share * len(rows))] for rows in groups]))


def resampled(data: TrainData, outputs: Sequence[np.ndarray]) -> np.ndarray:
    """Losses [resamples, models] on validation rows drawn with replacement, each model calibrated once."""
    y, task = data.y("valid"), data.task
    decodings = [task.calibrate(data.target_encoder, z, y) for z in outputs]
    _, unit_of = np.unique(units(data, data.rows["valid"]), return_inverse=True)
    order = np.argsort(unit_of, kind="stable")
    starts = np.append(np.flatnonzero(np.diff(unit_of[order], prepend=-1)), len(order))
    rng = np.random.default_rng(data.seed)
    found = np.empty((max(min(RESAMPLES, WORK // len(y)), 100), len(outputs)))
    for number in range(len(found)):
        drawn = rng.integers(0, len(starts) - 1, len(starts) - 1)
        lengths = starts[drawn + 1] - starts[drawn]
        within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        rows = order[np.repeat(starts[drawn], lengths) + within]
        found[number] = [task.loss(z[rows], y[rows], d) for z, d in zip(outputs, decodings, strict=True)]
    return found


def interval(figures: np.ndarray) -> tuple[float, float]:
    """The middle 95 %."""
    low, high = np.quantile(figures, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def reading(points: Sequence[dict[str, Any]], losses: np.ndarray, baseline: float) -> dict[str, Any]:
    """What the last doubling gained, with its interval, and in a sentence whether more rows would help.

    `losses` [resamples, points]; `baseline` is the loss of the trivial model. `verdict`: helps, hardly, unclear; or
    none where there are too few rows for two points.
    """
    if len(points) < 2:
        sentence = "There are too few training rows to say whether more would help."
        return {"verdict": "none", "gain": None, "low": None, "high": None, "sentence": sentence}
    before, after = points[-2], points[-1]
    gain = before["loss"] - after["loss"]
    low, high = interval(losses[:, -2] - losses[:, -1])
    if high < max(HARDLY * after["loss"], FAINTLY * baseline):
        verdict, says = "hardly", "more rows of this kind would hardly help"
    elif low > 0:
        verdict, says = "helps", "more rows would help"
    else:
        verdict, says = "unclear", "it is not clear whether more rows would help"
    moved = f"{'fell' if gain >= 0 else 'rose'} by {abs(gain):.4f}"
    sentence = (
        f"From {before['rows']:,} to {after['rows']:,} training rows the loss {moved} "
        f"(95 % interval of the gain {low:.4f} to {high:.4f}): {says}."
    )
    return {"verdict": verdict, "gain": gain, "low": low, "high": high, "sentence": sentence}
