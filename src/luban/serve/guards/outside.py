"""Rows that are unlike those of training, and values that are too large: marked, refused, or answered.

A model answers whatever it is asked, also where it has learnt nothing. What training rows were like stands in the
bundle (`reports/ranges.json`, see `release/ranges.py`); this file compares. Decided here:

- most rows are like those of training, and that is seen on their raw values, for a fraction of a microsecond each; only
  what does not look so is parsed, by the bundle's own steps and parsers, and judged for certain;
- reasons name column, value and bound, for the client has sent the value; none is logged;
- a bundle that says nothing of its training has no bounds: with `mark` that is said in the log, with `refuse` its
  rows are refused, for nobody can say that they are inside.

An inspector and a finisher. Runs on one event loop. Knows no column type: only how values look.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from luban.bundle.ranges import RANGES, as_number, value_hash
from luban.serve.guards.rows_config import RowsConfig

if TYPE_CHECKING:
    from luban.bundle.bundle import Bundle
    from luban.serve.fleet.served import Served
    from luban.serve.question import Question, Reply

LOG = logging.getLogger("luban.serve")
PATH = f"reports/{RANGES}"
MAX_SEEN = 10_000
NOT_SAID = "this version does not say what it was trained on, so no row can be said to be like that; release it again"


class Outside:
    """Looks at the rows of every question."""

    def __init__(self, config: RowsConfig) -> None:
        self._config = config
        self._bounds: WeakKeyDictionary[Bundle, Bounds | None] = WeakKeyDictionary()
        self.adds: Mapping[str, str] = {"outside": "array"} if config.outside == "mark" else {}

    def inspect(self, question: Question, served: Served, faults: list[str | None]) -> None:
        """Put into `faults` why a row is not asked."""
        # A body that is smaller has no larger value; 0 is a length that was not said.
        if not 0 < question.entry.num_bytes <= self._config.max_cell_bytes:
            for position, row in enumerate(question.rows):
                faults[position] = faults[position] or self._too_large(row, served.files)
        if self._config.outside != "refuse":
            return
        bounds = self._of(served)
        for position, row in enumerate(question.rows):
            if faults[position] is None:
                faults[position] = NOT_SAID if bounds is None else "; ".join(bounds.outside(row)) or None

    def finish(self, question: Question, reply: Reply) -> None:
        """Mark the answers to rows that are unlike those of training."""
        bounds = self._of(reply.arm.served) if self._config.outside == "mark" else None
        if bounds is None:
            return
        for row, answer in zip(question.rows, reply.answers, strict=True):
            if "error" not in answer:
                reasons = bounds.outside(row)
                if reasons:
                    answer["outside"] = reasons

    def _too_large(self, row: Any, files: frozenset[str]) -> str | None:
        limit = self._config.max_cell_bytes
        for name, value in row.items() if isinstance(row, dict) else ():
            size = _num_bytes(value)
            if size > limit and name not in files:
                return f"{name[:80]}: has {size} bytes, more than the {limit} that are allowed"
        return None

    def _of(self, served: Served) -> Bounds | None:
        bundle = served.bundle
        if bundle not in self._bounds:
            self._bounds[bundle] = found = Bounds.of(bundle)
            if found is None:
                fields = {"model": served.name, "version": served.version, "reason": NOT_SAID}
                LOG.warning("rows.outside cannot be followed", extra={"fields": fields})
        return self._bounds[bundle]


class Bounds:
    """What one bundle's training rows were like."""

    def __init__(self, bundle: Bundle, columns: Mapping[str, Mapping[str, Any]]) -> None:
        self._bundle = bundle
        self._columns = {name: _Column(columns[name]) for name in bundle.preprocess.names if name in columns}
        self._ranges = [(name, *column.range) for name, column in self._columns.items() if column.range is not None]
        import pyarrow as pa

        features = bundle.preprocess.features
        self._files = {name for name in features if pa.types.is_large_binary(features[name].storage)}
        self._others = {name for name, column in self._columns.items() if column.range is None}

    @classmethod
    def of(cls, bundle: Bundle) -> Bounds | None:
        """Those in a bundle's folder; None where there are none, or not those that the manifest names."""
        spec = bundle.manifest.files.get(PATH) if bundle.folder is not None else None
        if bundle.folder is None or spec is None:
            return None
        data = (bundle.folder / PATH).read_bytes()
        if hashlib.sha256(data).hexdigest() != spec.sha256:
            return None
        return cls(bundle, json.loads(data)["columns"])

    def outside(self, row: Any) -> list[str]:
        """Why a row is unlike those of training; nothing where it is like them, or no row at all."""
        if not isinstance(row, dict):
            return []
        # Most are numbers in their range, which is seen without a call for each.
        look = {n for n, low, high in self._ranges if not (type(raw := row.get(n)) is float and low <= raw <= high)}
        if self._others:
            look |= self._others
        elif not look:
            return []
        columns = self._columns
        doubtful = [name for name in columns if name in look and not columns[name].looks_inside(row.get(name))]
        if not doubtful:
            return []
        # Files are not judged by these bounds, and decoding them takes too long for the event loop.
        from luban.bundle.preprocess import NO_INPUT

        files = self._files
        parsed = self._bundle.values([{n: v for n, v in row.items() if n not in files} if files else row])
        if parsed.errors[0] is not None and not (files and parsed.errors[0] == NO_INPUT):
            return []  # It gets that error.
        reasons: list[str] = []
        for name in doubtful:
            found = self._columns[name].reasons(parsed.columns[name][0])
            if found:
                reasons += [f"{name}: {reason}" for reason in found]
            else:
                self._columns[name].learn(row.get(name))
        return reasons


class _Column:
    """One column's bounds. `looks_inside` may say no where `reasons` finds nothing, never the other way round."""

    def __init__(self, about: Mapping[str, Any]) -> None:
        self._may_miss = bool(about["missing"])
        self.range: tuple[float, float] | None = tuple(about["range"]) if "range" in about else None
        self._length: tuple[float, float] | None = tuple(about["length"]) if "length" in about else None
        self._known = frozenset(about["known"]) if "known" in about else None
        self._seen: set[Any] = set()
        """Raw closed values that were found to be known."""

    def looks_inside(self, raw: Any) -> bool:
        """Whether a raw value needs no closer look."""
        if raw is None:
            return self._may_miss
        kind = type(raw)
        if self.range is not None:
            return (kind is float or kind is int) and self.range[0] <= raw <= self.range[1]
        if self._length is not None:
            return kind is str and self._length[0] <= len(raw) <= self._length[1]
        return self._known is None or (kind is str and raw in self._seen)

    def learn(self, raw: Any) -> None:
        """A raw value was looked at closely, and is known."""
        if self._known is not None and isinstance(raw, str) and len(self._seen) < MAX_SEEN:
            self._seen.add(raw)

    def reasons(self, value: Any) -> list[str]:
        """What is unlike training in a parsed value."""
        if value is None:
            return [] if self._may_miss else ["is missing, as it never was in training"]
        if self.range is not None:
            return _beyond(as_number(value), self.range, _shown(value), isinstance(value, (date, datetime)))
        if self._length is not None:
            return _beyond(len(value), self._length, f"a text of {len(value)} characters", False, "shortest", "longest")
        if self._known is not None:
            every = value if isinstance(value, list) else [value]
            return [f"`{_shown(one)}` was not in training" for one in every if value_hash(one) not in self._known]
        return []


def _beyond(
    number: float,
    bounds: tuple[float, float],
    shown: str,
    is_time: bool,
    smallest: str = "smallest",
    largest: str = "largest",
) -> list[str]:
    low, high = bounds
    if is_time:
        smallest, largest = "earliest", "latest"
    if number < low:
        return [f"{shown} is below {_bound(low, is_time)}, the {smallest} in training"]
    if number > high:
        return [f"{shown} is above {_bound(high, is_time)}, the {largest} in training"]
    return []


def _bound(number: float, is_time: bool) -> str:
    if not is_time:
        return f"{number:g}"
    return datetime.fromtimestamp(number, UTC).isoformat(timespec="seconds")


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    text = str(value)
    return text if len(text) <= 80 else text[:80] + "…"


def _num_bytes(value: Any) -> int:
    if isinstance(value, str):
        return len(value) if value.isascii() else len(value.encode("utf-8", "replace"))
    if isinstance(value, bytes):
        return len(value)
    if isinstance(value, list):
        return sum(_num_bytes(one) for one in value)
    return 0
