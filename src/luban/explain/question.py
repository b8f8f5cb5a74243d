"""One row taken apart, and what the bundle says of it with some parts taken away.

Decided here: a part that is taken away is missing, and a column of which all parts are is a missing value; so the
background is a row in which nothing is known, which every bundle can answer. A value without parts stays. The path is
that of `Bundle.predict` from parsed values on: encoders, graph, and the quantity in place of a decoded answer. Each
distinct value of a column is made and encoded once, each distinct row is asked once, all in bulk. Row steps are not
run again on what is left of a value.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from luban.bundle.bundle import Bundle
from luban.explain.quantity import Quantity
from luban.features.base import Parts
from luban.features.kinds import Arrays, take

BLOCK_ROWS = 4096
BLOCK_CHARACTERS = 2_000_000
"""Characters of all texts that are encoded at once."""
TIMED_ROWS = 32
"""Rows that are asked between two looks at the clock, where the time is stated."""


class OutOfTime(Exception):
    """The time that was given is over."""


@dataclass(frozen=True)
class Part:
    """A part of a row: its column, its position within that column's value, and its name."""

    column: str
    number: int
    name: str


class Question:
    """What a bundle says of one row, of which parts can be left out.

    `number` is the class that is explained (None: the one that is answered). Counts the rows that it asked
    in `asked`. After `until`, a time of `time.monotonic`, asking raises OutOfTime. Not shared between threads.
    """

    def __init__(
        self,
        bundle: Bundle,
        values: Mapping[str, Any],
        row: int,
        quantity: Quantity,
        number: int | None,
        until: float = math.inf,
    ) -> None:
        self.bundle, self.values, self.row, self.quantity = bundle, dict(values), row, quantity
        self.asked = 0
        self._until = until
        read = dict.fromkeys(column for column, _ in bundle.encoders)
        features = bundle.preprocess.features
        self._columns: list[tuple[str, Parts]] = [(name, features[name].parts(values[name])) for name in read]
        self.parts = tuple(
            Part(column, i, name) for column, parts in self._columns for i, name in enumerate(parts.names)
        )
        self.outputs = self._outputs(np.stack([np.ones(len(self.parts), bool), np.zeros(len(self.parts), bool)]))
        self.number = int(quantity.answered(self.outputs[:1])[0]) if number is None else number
        self.output, self.base = quantity.one(self.outputs, self.number).tolist()

    @property
    def explains(self) -> str:
        """The class, or the target, that is explained."""
        return self.quantity.names[self.number]

    @cached_property
    def groups(self) -> dict[str, np.ndarray]:
        """Positions [p] of each column's parts; columns that are missing in this row are left out."""
        columns = np.array([part.column for part in self.parts])
        return {name: np.flatnonzero(columns == name) for name, parts in self._columns if parts.names}

    def answer(self) -> dict[str, Any]:
        """The answer that the bundle gives, decoded."""
        task = self.bundle.manifest.task
        found = self.bundle.task.decode(self.outputs[:1], task.decoding, self.bundle.task.Options())
        return found.rows()[0]

    def ask(self, kept_mp: np.ndarray) -> np.ndarray:
        """The quantity [M] float64 where only the parts marked in `kept_mp` [M, P] bool are left."""
        return self.quantity.one(self._outputs(kept_mp), self.number)

    def ask_groups(self, kept_mg: np.ndarray, groups: Sequence[np.ndarray]) -> np.ndarray:
        """The same [M], for groups of parts that stay or go together: `kept_mg` [M, G] bool."""
        kept = np.zeros((len(kept_mg), len(self.parts)), bool)
        for number, group in enumerate(groups):
            kept[:, group] = kept_mg[:, number, None]
        return self.ask(kept)

    def _outputs(self, kept_mp: np.ndarray) -> np.ndarray:
        """Outputs [M, n] of the bundle, in blocks that fit into memory."""
        size = sum(len(value) for value in self.values.values() if isinstance(value, str))
        step = max(64, min(BLOCK_ROWS, BLOCK_CHARACTERS // (size + 1)))
        step = step if self._until == math.inf else TIMED_ROWS
        pieces = [self._block(kept_mp[start : start + step]) for start in range(0, len(kept_mp), step)]
        return np.concatenate(pieces) if pieces else np.zeros((0, self.bundle.manifest.task.width))

    def _block(self, kept_mp: np.ndarray) -> np.ndarray:
        if time.monotonic() >= self._until:
            raise OutOfTime
        numbers: dict[str, np.ndarray] = {}
        distinct: dict[str, list[Any]] = {}
        start = 0
        for column, parts in self._columns:
            stop = start + len(parts.names)
            distinct[column], numbers[column] = _values(parts, kept_mp[:, start:stop])
            start = stop
        first, inverse = _distinct(list(numbers.values()), [len(values) for values in distinct.values()])
        self.asked += len(first)
        arrays: Arrays = {}
        for (column, encoder), block in zip(self.bundle.encoders, self.bundle.blocks, strict=True):
            encoded, rows = encoder.encode(distinct[column]).named(block), numbers[column][first]
            same = len(rows) == len(distinct[column]) and bool((rows == np.arange(len(rows))).all())
            arrays.update(encoded if same else take(encoded, rows))
        return np.asarray(self.bundle.run(arrays)[inverse])


def _values(parts: Parts, kept_mp: np.ndarray) -> tuple[list[Any], np.ndarray]:
    """Distinct values that a column takes, and which of them [M] int64 each row has."""
    if not parts.names or not len(kept_mp):
        return [parts.value], np.zeros(len(kept_mp), np.int64)
    first, inverse = _distinct([kept_mp[:, i].astype(np.int64) for i in range(kept_mp.shape[1])], None)
    if len(first) == len(kept_mp):
        first, inverse = np.arange(len(kept_mp)), np.arange(len(kept_mp))
    values: list[Any] = []
    numbers: dict[Any, int] = {}
    of = np.zeros(len(first), np.int64)
    for position, row in enumerate(kept_mp[first]):
        value = parts.value if row.all() else parts.without(np.flatnonzero(~row).tolist())
        # Different parts may leave the same value behind; what cannot be a key of a dictionary stays by itself.
        key = value if isinstance(value, (str, bytes, float, type(None))) else (position,)
        if key not in numbers:
            numbers[key] = len(values)
            values.append(value)
        of[position] = numbers[key]
    return values, of[inverse]


def _distinct(columns: list[np.ndarray], sizes: list[int] | None) -> tuple[np.ndarray, np.ndarray]:
    """First positions [D] of distinct rows of numbers, and which of them each row [M] is."""
    sizes = [2] * len(columns) if sizes is None else sizes
    codes = np.zeros(len(columns[0]), np.int64)
    total = 1
    for column, size in zip(columns, sizes, strict=True):
        if total > 2**62 // max(size, 1):
            codes = np.unique(codes, return_inverse=True)[1]
            total = int(codes.max(initial=0)) + 1
        codes = codes * size + column
        total *= max(size, 1)
    _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    return first, inverse
