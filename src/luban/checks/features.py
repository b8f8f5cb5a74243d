"""Checks of column types and their encoders."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa

from luban.errors import BadValue
from luban.features.base import Encoder, Feature, Guess
from luban.features.kinds import CONFIGS, PARTS, Arrays, Kind, Want, num_rows, pad

POOL: tuple[str, ...] = (
    "好吃", "not bad at all", "a", "b", "1", "2.5", "-3", "1,200 元", "12%", "1.2万", "2024-01-05", "2024-02-29 12:30",
    "2023/7/9", "true", "x" * 300, "é", "🙂 ok", "NaN", "inf", " padded ", "１２", "1e400", "0",
)  # fmt: skip


def values_of(feature: Feature, pool: tuple[Any, ...] = POOL) -> list[Any]:
    """Parsed values of the pool (and of the type's own `samples`) that the feature can read."""
    found = []
    for raw in (*pool, *getattr(feature, "samples", ())):
        try:
            value = feature.parse_value(raw)
        except BadValue:
            continue
        if value is not None:
            found.append(value)
    assert len(found) >= 3, (
        "the pool has too few values of this type: give it `samples`, raw values as people write them"
    )
    return found


def nothing_stays_nothing(component: Any) -> None:
    """None is None after parsing."""
    assert component().parse_value(None) is None


def parsing_is_idempotent(component: Any) -> None:
    """A parsed value parses to itself, and what is read to be encoded at once is the same value."""
    feature = component()
    for value in values_of(feature):
        assert feature.parse_value(value) == value, value
        assert feature.read(value) == value, value
    assert feature.read(None) is None


def parsing_in_bulk_agrees(component: Any) -> None:
    """`parse` gives what `parse_value` gives, value by value, and the same reasons."""
    feature = component()
    raw = [*POOL, None, *POOL, *getattr(feature, "samples", ())]
    parsed = feature.parse(pa.array(raw, pa.string()))
    assert parsed.values.type == feature.storage
    for position, (value, found) in enumerate(zip(raw, parsed.values.to_pylist(), strict=True)):
        try:
            expected = feature.parse_value(value)
            reason = None
        except BadValue as bad:
            expected, reason = None, bad.message
        assert parsed.bad.get(position) == reason
        assert found == expected, (value, found, expected)


def guesses_are_shares(component: Any) -> None:
    """`infer` gives None or a score in [0, 1] with a reason."""
    for sample in (list(POOL), ["1", "2"], ["a"] * 5, []):
        guess = component().infer(sample)
        assert guess is None or (isinstance(guess, Guess) and 0 <= guess.score <= 1 and guess.reason)


def refuses_with_a_reason(component: Any) -> None:
    """A kind that it cannot give is refused in words."""
    feature = component()
    for kind in PARTS:
        reason = feature.supports(Want(kind, component.Config()))
        assert (reason is None) == (kind in feature.encoders)
        assert reason is None or len(reason) > 5


def parts_put_together(component: Any) -> None:
    """Without nothing a value is itself; without all its parts it is nothing or still a value."""
    feature = component()
    for value in values_of(feature):
        parts = feature.parts(value)
        assert parts.without([]) == value
        rest = parts.without(range(len(parts.names)))
        assert rest is None or feature.parse_value(rest) == rest


def signals_are_figures(component: Any) -> None:
    """Every signal is [B] float64, NaN where the value is missing."""
    feature = component()
    values = [*values_of(feature), None]
    signals = feature.signals(values)
    assert signals, "a type has at least one signal"
    for name, figures in signals.items():
        assert figures.dtype == np.float64, name
        assert figures.shape == (len(values),), name
        assert np.isnan(figures[-1]), f"{name} of a missing value must be NaN"


def _fitted(feature: Feature, values: list[Any]) -> list[tuple[Kind, Encoder]]:
    return [(kind, cls.fit(values, CONFIGS[kind](), 0, None)) for kind, cls in feature.encoders.items()]


def encoders_give_their_kind(component: Any) -> None:
    """Exactly the parts of the kind, of the right types and lengths, for any list of values."""
    feature = component()
    values = values_of(feature)
    for kind, encoder in _fitted(feature, values * 3):
        for batch in (values, [None], [None] * 4, [values[0], None]):
            parts = encoder.encode(batch).parts
            assert num_rows({f"x.{name}": array for name, array in parts.items()}) == len(batch)
            names = set(parts) - {"offsets", "present"}
            assert names == set(PARTS[kind]), names
            assert parts["present"].tolist() == [value is not None for value in batch]
            _check_types(kind, parts, len(batch), encoder.size)
        assert encoder.encode([]).parts["present"].shape == (0,)


def _check_types(kind: Kind, parts: Arrays, rows: int, size: int) -> None:
    if kind == "index":
        assert parts["value"].dtype == np.int64
        assert parts["value"].shape == (rows,)
        assert ((parts["value"] >= 0) & (parts["value"] < size)).all()
    elif kind == "vector":
        assert parts["value"].dtype == np.float32
        assert parts["value"].shape == (rows, size)
    elif kind == "bag":
        assert parts["ids"].dtype == np.int64
        assert parts["weights"].dtype == np.float32
        assert ((parts["ids"] >= 1) & (parts["ids"] < size)).all()
        assert np.isfinite(parts["weights"]).all()
    elif kind == "tokens":
        assert parts["ids"].dtype == np.int64
        assert parts["mask"].dtype == bool
        assert parts["mask"].all()
        assert ((parts["ids"] >= 0) & (parts["ids"] < size)).all()


def encoders_ignore_neighbours(component: Any) -> None:
    """A value is encoded to the same bits alone and among others."""
    feature = component()
    values = [*values_of(feature), None]
    for kind, encoder in _fitted(feature, values * 3):
        together = pad({f"x.{name}": a for name, a in encoder.encode(values).parts.items()})
        for row, value in enumerate(values):
            alone = pad({f"x.{name}": a for name, a in encoder.encode([value]).parts.items()})
            for name, array in alone.items():
                found, expected = together[name][row], array[0]
                if kind in ("bag", "tokens"):
                    expected = np.pad(expected, (0, len(found) - len(expected)))
                assert np.array_equal(found, expected, equal_nan=kind == "vector"), (kind, name, value)


def encoders_come_back(component: Any) -> None:
    """`restore(state())` has the same fingerprint and gives the same arrays; the state is plain JSON."""
    feature = component()
    values = values_of(feature)
    for kind, encoder in _fitted(feature, values * 3):
        state = encoder.state()
        plain = type(state)(json.loads(json.dumps(state.json)), state.tensors, state.personal)
        again = feature.restore(kind, plain)
        assert again.state_fingerprint == encoder.state_fingerprint
        first, second = encoder.encode(values).parts, again.encode(values).parts
        assert all(np.array_equal(first[name], second[name], equal_nan=first[name].dtype.kind == "f") for name in first)


def fitting_is_repeatable(component: Any) -> None:
    """The same values, config and seed give the same fingerprint; the values are left alone."""
    feature = component()
    values = values_of(feature) * 3
    before = list(values)
    first, second = _fitted(feature, values), _fitted(feature, values)
    assert [e.state_fingerprint for _, e in first] == [e.state_fingerprint for _, e in second]
    assert values == before


CHECKS = (
    nothing_stays_nothing,
    parsing_is_idempotent,
    parsing_in_bulk_agrees,
    guesses_are_shares,
    refuses_with_a_reason,
    parts_put_together,
    signals_are_figures,
    encoders_give_their_kind,
    encoders_ignore_neighbours,
    encoders_come_back,
    fitting_is_repeatable,
)
