"""What a column type is: `Feature`, and what it learns from training rows: `Encoder`.

A feature knows the values of one column: how to recognise them, read them as people write them,
turn them into a kind of array, take them apart and watch them. It knows no task, no model family,
no other column, and nothing of files.
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias

import numpy as np
import pyarrow as pa

from luban.catalog import Component, Config, fingerprint
from luban.errors import BadValue
from luban.features.kinds import Arrays, Block, Encoded, Kind, Want

Value = Any
"""One parsed value: str, float, datetime …; None is missing."""
SideBySide: TypeAlias = Callable[[Sequence[Sequence[Value]]], Arrays]
"""Encodes several columns [K] of values [B] at once: parts by short name, each [K, B, …]."""


@dataclass(frozen=True)
class Guess:
    """How sure a feature is (0 to 1) that a sample is of its type, and why, in words.

    `settings` are those of the type that the sample asks for (a unit, say).
    """

    score: float
    reason: str
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Parsed:
    """A column after parsing.

    `values` has the feature's `storage` type, null where missing or bad; `bad` maps positions to
    reasons; `changed` are the positions [C] int64, ascending, of values that could be read but were not
    already plain.
    """

    values: pa.Array
    bad: dict[int, str] = field(default_factory=dict)
    changed: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))


@dataclass(frozen=True)
class Parts:
    """A value taken apart: names of its parts, and how to give it back without some of them."""

    names: tuple[str, ...]
    value: Value

    def without(self, removed: Sequence[int]) -> Value:
        """The value without the parts at these positions; None if nothing is left."""
        raise NotImplementedError


@dataclass(frozen=True)
class EncoderState:
    """What a fitted encoder is: JSON that reads in any language, and tensors.

    `personal` says that it holds strings taken from rows (a vocabulary).
    """

    json: dict[str, Any]
    tensors: Arrays = field(default_factory=dict)
    personal: bool = False

    @property
    def fingerprint(self) -> str:
        """First 16 hexadecimal digits of a hash over JSON and tensors."""
        tensors = {
            name: [str(array.dtype), list(array.shape), hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()]
            for name, array in sorted(self.tensors.items())
        }
        return fingerprint([self.json, tensors])[:16]


class Encoder(Component):
    """Turns parsed values into one kind of array. Fitted on training rows only; then immutable.

    Threads may share one. `encode` never changes its argument, gives the same answer for a value
    whatever its neighbours, accepts any list of values (also empty, also all None), and raises
    BadValue only for values that `Feature.parse_value` cannot have given.
    """

    array_kind: ClassVar[Kind]

    @classmethod
    @abstractmethod
    def fit(cls, values: Sequence[Value], config: Config, seed: int, subjects: Sequence[Value] | None) -> Encoder:
        """Learn from training values. With `subjects`, "seen in k rows" means k subjects."""

    @classmethod
    @abstractmethod
    def restore(cls, state: EncoderState) -> Encoder:
        """The encoder that `state()` came from: same fingerprint, same answers."""

    @abstractmethod
    def state(self) -> EncoderState:
        """All that it learnt."""

    @abstractmethod
    def encode(self, values: Sequence[Value]) -> Encoded:
        """Parts by short name for [B] values; bags ragged (`ids`, `weights`, `offsets`), and `present`."""

    @property
    @abstractmethod
    def size(self) -> int:
        """Entries of an index or bag, width of a vector."""

    @classmethod
    def side_by_side(cls, encoders: Sequence[Encoder]) -> SideBySide | None:
        """How several columns, each with one of these encoders of this class, are encoded by one call, if they are.

        Only for speed: what it gives for a column are the very bits that the column's own encoder gives.
        """
        return None

    def block(self, column: str) -> Block:
        """The name under which `column`'s arrays travel."""
        name = f"{column}/{self.array_kind}/{self.state_fingerprint}"
        return Block(name, self.array_kind, column, self.size, self.entries)

    @property
    def entries(self) -> Sequence[str] | None:
        """The strings that entries from 2 on stand for; None where entries are no strings of a vocabulary."""
        return None

    @property
    def state_fingerprint(self) -> str:
        """Fingerprint of the state; computed once."""
        cached = self.__dict__.get("_fingerprint")
        if cached is None:
            cached = self.__dict__["_fingerprint"] = self.state().fingerprint
        return cached


class Feature(Component):
    """A column type. Stateless: everything learnt is in encoders.

    `storage` is the Arrow type of parsed values. `free_form` says that two equal values are copies,
    not coincidence (a review, not a shoe size): exact copies are then dropped. `missing_is_value` says that
    a missing target has a meaning (none of the tags): its row is kept. `encoders` maps each kind of array it
    can give to the class that makes it. `reads_floats`: a finite float is read as itself.
    """

    storage: ClassVar[pa.DataType]
    free_form: ClassVar[bool] = False
    missing_is_value: bool = False
    reads_floats: ClassVar[bool] = False
    encoders: ClassVar[dict[Kind, type[Encoder]]]

    @abstractmethod
    def infer(self, sample: Sequence[str]) -> Guess | None:
        """How likely these raw, non-missing strings are of this type; None if they cannot be."""

    @abstractmethod
    def parse_value(self, raw: Any) -> Value:
        """One raw value (str, or a typed value from JSON, Parquet, Excel) as this type.

        None stays None. Raises BadValue with the reason where it cannot be read. Idempotent:
        parsing a parsed value gives it back.
        """

    def read(self, raw: Any) -> Value:
        """The same, for a value that is encoded at once and then forgotten: it equals what `parse_value` gives.

        Where reading finds what encoding would have to find again (a picture's pixels), the value may carry it.
        """
        return self.parse_value(raw)

    @abstractmethod
    def parts(self, value: Value) -> Parts:
        """The value's parts, for explanation and robustness tests."""

    @abstractmethod
    def signals(self, values: Sequence[Value]) -> Arrays:
        """Watchable figures by name, each [B] float64, NaN where missing: what drift is measured on."""

    def unfolds(self, raw: Any) -> int:
        """How many figures a raw value becomes when it is unpacked (pixels); 0: it is as large as it looks."""
        return 0

    def picture(self, value: Value) -> bytes | None:
        """A value as a small picture for people, a PNG file; None where it is read, not looked at."""
        return None

    def parse(self, raw: pa.Array) -> Parsed:
        """A raw column as this type: `parse_value` for every distinct value; for every one of lists and structures."""
        if pa.types.is_nested(raw.type):
            return self._parse_each(raw.to_pylist())
        encoded = raw.dictionary_encode()
        values: list[Value] = []
        reasons: dict[int, str] = {}
        plain: list[bool] = []
        for number, value in enumerate(encoded.dictionary.to_pylist()):
            try:
                parsed = self.parse_value(value)
            except BadValue as error:
                parsed, reasons[number] = None, error.message
            values.append(parsed)
            plain.append(number in reasons or self.is_plain(value, parsed))
        parsed_values = pa.array(values, self.storage).take(encoded.indices)
        if all(plain) and not reasons:
            return Parsed(parsed_values)
        # what is missing is neither bad nor changed: it counts as one more, plain value
        ids = encoded.indices.cast(pa.int64()).fill_null(len(plain)).to_numpy(zero_copy_only=False)
        unreadable = np.flatnonzero(np.isin(ids, list(reasons))).tolist()
        bad = {row: reasons[int(ids[row])] for row in unreadable}
        return Parsed(parsed_values, bad, np.flatnonzero(~np.array([*plain, True])[ids]))

    def _parse_each(self, raw: Sequence[Any]) -> Parsed:
        """Values that Arrow cannot tell apart, one after another."""
        values: list[Value] = []
        bad: dict[int, str] = {}
        changed: list[int] = []
        for row, value in enumerate(raw):
            parsed = None
            try:
                parsed = self.parse_value(value)
                if not self.is_plain(value, parsed):
                    changed.append(row)
            except BadValue as error:
                bad[row] = error.message
            values.append(parsed)
        return Parsed(pa.array(values, self.storage), bad, np.array(changed, np.int64))

    def is_plain(self, raw: Any, parsed: Value) -> bool:
        """Whether a raw value already stood as this type keeps it, so that it is not counted as changed."""
        return bool(raw == parsed)

    def supports(self, want: Want) -> str | None:
        """None if this type can give what is wanted, or the reason why not."""
        if want.kind in self.encoders:
            return None
        return f"a {self.kind} column gives {', '.join(sorted(self.encoders))}, not {want.kind}"

    def fit(self, values: Sequence[Value], want: Want, seed: int, subjects: Sequence[Value] | None = None) -> Encoder:
        """An encoder for `want`, fitted on these training values."""
        return self.encoders[want.kind].fit(values, want.config, seed, subjects)

    def restore(self, kind: Kind, state: EncoderState) -> Encoder:
        """The encoder of `kind` that gave `state`."""
        return self.encoders[kind].restore(state)


def subjects_or_rows(values: Sequence[Value], subjects: Sequence[Value] | None) -> np.ndarray:
    """Integer codes [B] int64 of who each row counts for: its subject, or itself."""
    if subjects is None:
        return np.arange(len(values))
    codes: dict[Value, int] = {}
    return np.array([codes.setdefault(s, len(codes)) for s in subjects], dtype=np.int64)
