"""What answers cost in money, and from which confidence on they should be given.

Source: Elkan, "The Foundations of Cost-Sensitive Learning", 2001; the option to ask: Chow 1970. Decided here: the
thresholds are chosen on validation rows, their money is counted on test rows; two classes may have two
thresholds, a person answering between them; more classes have one, the confidence from which an answer is
given. A person is taken to be always right. Beside it stand what the model answers now, the best
constant answer and a person for every row. It changes no bundle: it says what to set.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from luban.catalog import nearest
from luban.errors import ConfigError
from luban.evaluate.config import CostsConfig
from luban.evaluate.findings import Costs, Money
from luban.evaluate.intervals import mean_interval
from luban.evaluate.records import DECIMALS
from luban.evaluate.scored import KNOWS_LABELS, Scored

ANY = "*"
PER = 1000
MAX_STEPS = 2000
"""Thresholds that are tried at most."""
NEVER = 1.0
"""A threshold that no probability reaches, but for one that is certain."""


@dataclass(frozen=True)
class Policy:
    """What is answered: a class number [B] int64 for each row, -1 where a person is asked."""

    name: str
    answers: Callable[[Scored], np.ndarray]
    answer: str | None = None


def costs(
    config: CostsConfig,
    labels: Sequence[str],
    valid: Scored | None,
    test: Scored,
    level: float,
    clusters: np.ndarray | None = None,
) -> Costs:
    """The recommendation from validation rows, counted on test rows. Raises ConfigError for unknown classes."""
    if KNOWS_LABELS not in test.has:
        return Costs(currency=config.currency, reason="costs are stated by class, and this task has no classes")
    worth, free = worth_of(config, labels)
    if valid is None or not len(valid):
        return Costs(currency=config.currency, free_errors=free, reason="there are no validation rows to choose on")
    asked = _asked(worth, config.review)
    chosen, threshold, review_from = _choose(worth, asked, valid)
    constant = int(np.argmax([worth[valid.truth, number].mean() for number in range(len(labels))]))
    policies = [
        chosen,
        Policy("now", lambda rows: rows.predicted),
        Policy("constant", lambda rows: np.full(len(rows), constant), labels[constant]),
    ]
    if asked is not None:
        policies.append(Policy("person", lambda rows: np.full(len(rows), -1)))
    earned = {policy.name: _earned(worth, asked, test, policy.answers(test)) for policy in policies}
    money = tuple(_money(policy, earned, test, level, clusters) for policy in policies)
    two = len(labels) == 2
    found = Costs(
        currency=config.currency,
        positive=labels[1] if two else None,
        threshold=threshold,
        review_from=review_from,
        by_probability=_by_probability(worth) if two and asked is None else None,
        money=money,
        break_even_row=round(float((earned["chosen"] - earned["constant"]).mean()), DECIMALS),
        break_even_review=_break_even_review(worth, valid, test),
        free_errors=free,
        num_valid=len(valid),
    )
    return found.model_copy(update={"advice": _advice(found, labels)})


def worth_of(config: CostsConfig, labels: Sequence[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Money [C, C] float64 by truth and answer, and the errors for which none is stated (at most 20 are named)."""
    places = {label: number for number, label in enumerate(labels)}
    worth = np.zeros((len(labels), len(labels)))
    stated = np.eye(len(labels), dtype=bool)
    # what is stated for any class first, so that what is stated for one replaces it
    for key in sorted(config.per_error, key=lambda key: -_anys(key)):
        truth, answer = _pair(key, places)
        cells = np.zeros_like(stated)
        cells[slice(None) if truth is None else truth, slice(None) if answer is None else answer] = True
        cells &= ~np.eye(len(labels), dtype=bool)
        worth[cells], stated[cells] = -config.per_error[key], True
    for key in sorted(config.per_right, key=lambda key: key != ANY):
        number = _place(key, places, "per_right")
        every = range(len(labels)) if number is None else [number]
        worth[every, every] = config.per_right[key]
    free = [f"{labels[a]}->{labels[b]}" for a, b in zip(*np.nonzero(~stated), strict=True)]
    return worth, tuple(free[:20])


def _anys(key: str) -> int:
    return [part.strip() for part in key.split("->")].count(ANY)


def _pair(key: str, places: dict[str, int]) -> tuple[int | None, int | None]:
    parts = key.split("->")
    for cut in range(1, len(parts)):  # a class may itself have an arrow in its name
        truth, answer = "->".join(parts[:cut]).strip(), "->".join(parts[cut:]).strip()
        if all(side == ANY or side in places for side in (truth, answer)):
            return _place(truth, places, key), _place(answer, places, key)
    if len(parts) == 1:
        raise ConfigError(f"`evaluate.costs.per_error` must have keys like `truth->answer`, but got `{key}`.")
    unknown = next(side.strip() for side in parts if side.strip() not in places and side.strip() != ANY)
    raise _unknown(f"per_error.{key}", unknown, places)


def _place(name: str, places: dict[str, int], where: str) -> int | None:
    """The number of a class, None for any."""
    if name == ANY:
        return None
    if name not in places:
        raise _unknown(where, name, places)
    return places[name]


def _unknown(where: str, name: str, places: dict[str, int]) -> ConfigError:
    close = nearest(name, places)
    hint = f"Did you mean `{close}`? " if close else ""
    known = ", ".join(list(places)[:20])
    return ConfigError(
        f"`evaluate.costs.{where}` names a class `{name}` that the model does not know.", f"{hint}Known: {known}."
    )


def _asked(worth: np.ndarray, review: float | None) -> np.ndarray | None:
    """Money [C] of asking a person about a row of each true class; None where nobody can be asked."""
    return None if review is None else np.diag(worth) - review


def _earned(worth: np.ndarray, asked: np.ndarray | None, rows: Scored, answers: np.ndarray) -> np.ndarray:
    """Money [B] of each row."""
    found = worth[rows.truth, np.maximum(answers, 0)]
    return np.asarray(found if asked is None else np.where(answers < 0, asked[rows.truth], found))


def _choose(worth: np.ndarray, asked: np.ndarray | None, valid: Scored) -> tuple[Policy, float | None, float | None]:
    """The best policy on validation rows, its threshold, and from where on a person is asked."""
    if valid.num_classes == 2:
        return _choose_two(worth, asked, valid)
    if asked is None:
        return Policy("chosen", lambda rows: rows.predicted), None, None
    answered = worth[valid.truth, valid.predicted]
    order, cuts, ends = _steps(valid.confidence)
    # money of asking below each cut and answering from it on
    gains = np.append(0.0, np.cumsum((asked[valid.truth] - answered)[order])[ends])
    threshold = float(cuts[np.argmax(gains)])
    return Policy("chosen", lambda rows: np.where(rows.confidence >= threshold, rows.predicted, -1)), threshold, None


def _choose_two(
    worth: np.ndarray, asked: np.ndarray | None, valid: Scored
) -> tuple[Policy, float | None, float | None]:
    """Rows by rising probability of the second class: first class, then a person, then second class."""
    order, cuts, ends = _steps(valid.probability[:, 1])
    truth = valid.truth[order]

    def sums(money: np.ndarray) -> np.ndarray:
        """Money [K + 1] of all rows below each cut."""
        return np.append(0.0, np.cumsum(money[truth])[ends])

    first, second = sums(worth[:, 0]), sums(worth[:, 1])
    if asked is None:
        low = high = int(np.argmax(first - second))
    else:
        person = sums(asked)
        below, above = first - person, person - second
        high = int(np.argmax(np.maximum.accumulate(below) + above))
        low = int(np.argmax(below[: high + 1]))
    lower, upper = float(cuts[low]), float(cuts[high])

    def answers(rows: Scored) -> np.ndarray:
        given = rows.probability[:, 1]
        return np.where(given >= upper, 1, np.where(given < lower, 0, -1))

    return Policy("chosen", answers), upper, None if asked is None or low == high else lower


def _steps(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows in rising order [B], cuts [K + 1] between distinct scores (at most MAX_STEPS), the last row below all
    but the first cut [K].

    The first cut lies below all rows, the last above; they are rounded, as they are told.
    """
    order = np.argsort(scores, kind="stable")
    rising = scores[order]
    ends = np.flatnonzero(np.append(np.diff(rising) != 0, True))
    if len(ends) > MAX_STEPS:
        ends = ends[np.linspace(0, len(ends) - 1, MAX_STEPS).astype(np.int64)]
    between = (rising[ends[:-1]] + rising[ends[:-1] + 1]) / 2
    return order, np.concatenate([[0.0], np.round(between, 6), [NEVER]]), ends


def _money(
    policy: Policy, earned: dict[str, np.ndarray], rows: Scored, level: float, clusters: np.ndarray | None
) -> Money:
    answers = policy.answers(rows)
    own, gain = earned[policy.name] * PER, (earned["chosen"] - earned[policy.name]) * PER
    low, high = mean_interval(own, level, clusters)
    gain_low, gain_high = mean_interval(gain, level, clusters)
    asked = answers < 0
    return Money(
        policy=policy.name,
        answer=policy.answer,
        value=round(float(own.mean()), DECIMALS),
        low=low,
        high=high,
        gain=round(float(gain.mean()), DECIMALS),
        gain_low=gain_low,
        gain_high=gain_high,
        reviewed=round(float(asked.mean()), DECIMALS),
        error=round(float((~asked & (answers != rows.truth)).mean()), DECIMALS),
    )


def _by_probability(worth: np.ndarray) -> float | None:
    """Elkan's threshold: where both answers earn the same."""
    first, second = worth[0, 0] - worth[0, 1], worth[1, 1] - worth[1, 0]
    return round(float(first / (first + second)), 6) if first > 0 and second > 0 else None


def _break_even_review(worth: np.ndarray, valid: Scored, test: Scored) -> float:
    """What a person may cost for a row to be as good as the model with its best threshold and nobody to ask."""
    alone, _, _ = _choose(worth, None, valid)
    return round(float((np.diag(worth)[test.truth] - worth[test.truth, alone.answers(test)]).mean()), DECIMALS)


def _advice(found: Costs, labels: Sequence[str]) -> str:
    chosen = found.money[0]
    earns = "earns" if chosen.value >= 0 else "costs"
    says = f"It {earns} {abs(chosen.value):,.0f} {found.currency} per {PER:,} rows"
    if chosen.reviewed:
        says += f", with {chosen.reviewed:.1%} of rows asked of a person"
    if found.threshold is None:
        return f"{says}. There is no threshold to choose: name `review` to learn when to ask a person."
    if found.positive is None:
        return f"Answer where confidence is at least {found.threshold:.3g}, else ask a person. {says}."
    if found.review_from is None:
        return f"Answer `{labels[1]}` from a probability of {found.threshold:.3g} on (`threshold`). {says}."
    return (
        f"Answer `{labels[1]}` from a probability of {found.threshold:.3g} on (`threshold`), `{labels[0]}` below "
        f"{found.review_from:.3g}, and ask a person between. {says}."
    )
