"""Training data as arrays: encoders fitted on training rows, each made and used once.

Decided here: an encoder is known by its column and what was wanted of it, so that candidates that
want the same share it; values are read once. Names no column type and no family.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from luban.catalog import FEATURES, Choice, canonical
from luban.data.dataset import Dataset, Split
from luban.errors import DataError
from luban.features.base import Encoder, Feature
from luban.features.kinds import Arrays, Block, Want, concatenate, take
from luban.models.base import Converter, FittedConverter
from luban.models.plan import converter_of
from luban.tasks.base import Head, Task
from luban.train.config import Imbalance

SPLITS: tuple[Split, ...] = ("train", "valid", "test")
BATCH_ROWS = 4096
Kept = Callable[[str, Callable[[], Arrays]], Arrays]
"""Gives the arrays that were kept under a key, or makes and keeps them."""


@dataclass(frozen=True)
class Rows:
    """Rows of a dataset: parts of its split one after another, and which of them, by position [M] int64.

    `at` None is all of them. Values of the same rows come in the same order.
    """

    parts: tuple[Split, ...]
    at: np.ndarray | None = None

    def only(self, at: np.ndarray) -> Rows:
        """Some of these rows, by their positions among them."""
        return Rows(self.parts, at if self.at is None else self.at[at])


@dataclass(frozen=True)
class Converted:
    """A fitted converter over a column's encoder, and its block's arrays for training rows, cross-fitted.

    `rowwise`: it learnt nothing from rows, so `train` is what it gives for any row.
    """

    column: str
    encoder: Encoder
    fitted: FittedConverter
    train: Arrays
    rowwise: bool

    @property
    def source(self) -> Block:
        """The block that it reads."""
        return self.encoder.block(self.column)


class TrainData:
    """A dataset as a task and families see it. One per training run; not shared between threads."""

    def __init__(
        self,
        dataset: Dataset,
        task: Task,
        seed: int,
        rows: Mapping[Split, Rows] | None = None,
        kept: Kept = lambda key, make: make(),
        imbalance: Imbalance | None = None,
    ) -> None:
        self.dataset = dataset
        self.task = task
        self.seed = seed
        self.rows: dict[Split, Rows] = dict(rows or {split: Rows((split,)) for split in SPLITS})
        target = dataset.schema.target
        if target is None:
            raise DataError("There is no target column.", "Name one in `data.target`.")
        self.target = target
        self.kept = kept
        self.imbalance = imbalance or Imbalance()
        self._read: dict[tuple[str, str], list[Any]] = {}
        self._rowwise: dict[tuple[str, str], Arrays] = {}
        self._frozen: dict[str, FittedConverter] = {}
        self._values: dict[tuple[str, str], list[Any]] = {}
        self._encoders: dict[str, Encoder] = {}
        self._arrays: dict[tuple[str, str], Arrays] = {}
        self._converted: dict[str, Converted] = {}

    def with_rows(self, rows: Mapping[Split, Rows], seed: int | None = None) -> TrainData:
        """The same data, other rows in its three places; nothing learnt is taken along but the target's encoder.

        That stays, because outputs and the decoding mean what it says. Values that were read are shared.
        """
        other = TrainData(self.dataset, self.task, self.seed if seed is None else seed, rows, self.kept, self.imbalance)
        other._read, other._rowwise, other._frozen = self._read, self._rowwise, self._frozen
        other.__dict__["target_encoder"] = self.target_encoder
        return other

    def with_validation(self) -> TrainData:
        """The same data for a refit: validation rows join the training rows, and no validation rows are left."""
        return self.with_rows({"train": Rows(("train", "valid")), "valid": Rows(()), "test": Rows(("test",))})

    @property
    def held_bytes(self) -> int:
        """Memory of the arrays that are kept for the next candidate."""
        converted = [item.train for item in self._converted.values()]
        return sum(array.nbytes for arrays in (*self._arrays.values(), *converted) for array in arrays.values())

    def forget(self) -> None:
        """Let go of arrays: they are encoded again when they are asked for."""
        self._arrays.clear()
        self._converted.clear()

    @cached_property
    def features(self) -> list[tuple[str, Feature]]:
        """Input columns with their types, in schema order."""
        return [(c.name, FEATURES.make(c.type, c.settings)) for c in self.dataset.schema.inputs]

    @cached_property
    def subjects(self) -> list[Any] | None:
        """Who each training row is about, where there is a subject column."""
        found = self.dataset.schema.of_role("subject")
        return self.values(found[0].name, "train") if found else None

    @cached_property
    def target_encoder(self) -> Encoder:
        """The target column's encoder: which classes there are, or the unit that outputs are in.

        It says what outputs mean, so it is the same for all data of one dataset, whatever rows are trained on: it
        sees the targets of training and validation rows.
        """
        feature: Feature = FEATURES.make(self.target.type, self.target.settings)
        values = [value for part in SPLITS[:2] for value in self._of_part(self.target.name, part)]
        return feature.fit(values, self.task.target_want, self.seed)

    @cached_property
    def head(self) -> Head:
        """The head that fits the target."""
        return self._y("train")[1]

    def y(self, split: Split) -> np.ndarray:
        """The target of a split as the task gives it, [B]."""
        return self._y(split)[0]

    def _y(self, split: Split) -> tuple[np.ndarray, Head]:
        encoded = self.target_encoder.encode(self.values(self.target.name, split))
        return self.task.target(self.target_encoder, encoded.parts)

    def values(self, column: str, split: Split) -> list[Any]:
        """One column of a split as Python values; kept, because several encoders read it."""
        key = (column, split)
        if key not in self._values:
            rows = self.rows[split]
            found = [self._of_part(column, part) for part in rows.parts]
            values = found[0] if len(found) == 1 else [value for part in found for value in part]
            self._values[key] = values if rows.at is None else [values[i] for i in rows.at.tolist()]
        return self._values[key]

    def _of_part(self, column: str, part: Split) -> list[Any]:
        """One column of one part of the dataset's split; read once, also for data made by `with_rows`."""
        if (column, part) not in self._read:
            self._read[column, part] = self.dataset.values(column, part)
        return self._read[column, part]

    def encoder(self, column: str, want: Want) -> Encoder:
        """The encoder of a column for a want, fitted once on training rows."""
        key = f"{column}\0{want.kind}\0{want.config.model_dump_json()}"
        if key not in self._encoders:
            feature = dict(self.features)[column]
            self._encoders[key] = feature.fit(self.values(column, "train"), want, self.seed, self.subjects)
        return self._encoders[key]

    def arrays(self, pairs: Sequence[tuple[str, Encoder]], split: Split) -> Arrays:
        """Arrays of a split by full name, ragged, for (column, encoder) pairs."""
        out: Arrays = {}
        for column, encoder in pairs:
            block = encoder.block(column)
            key = (block.name, split)
            if key not in self._arrays:
                self._arrays[key] = self._encode(self.values(column, split), encoder, block)
            out |= self._arrays[key]
        return out

    def _encode(self, values: Sequence[Any], encoder: Encoder, block: Block) -> Arrays:
        starts = range(0, max(len(values), 1), BATCH_ROWS)
        return concatenate([encoder.encode(values[start : start + BATCH_ROWS]).named(block) for start in starts])

    def converted(self, column: str, encoder: Encoder, choice: Choice) -> Converted:
        """A converter over an encoder's block, fitted once."""
        source = encoder.block(column)
        key = f"{source.name}\0{canonical(choice.identity()).decode()}"
        if key not in self._converted:
            converter = converter_of(choice)
            if converter.learns:
                arrays = self.arrays([(column, encoder)], "train")
                fitted, train = converter.fit(arrays, source, self.y("train"), self.head, self.seed)
                self._converted[key] = Converted(column, encoder, fitted, train, rowwise=False)
            else:
                self._converted[key] = self._rowwise_converted(column, encoder, converter, key)
        return self._converted[key]

    def _rowwise_converted(self, column: str, encoder: Encoder, converter: Converter, key: str) -> Converted:
        """A converter that learns nothing: made once, also for data made by `with_rows`."""
        if key not in self._frozen:
            source = encoder.block(column)
            nobody = encoder.encode([]).named(source)
            self._frozen[key] = converter.fit(nobody, source, self.y("train")[:0], self.head, self.seed)[0]
        made = Converted(column, encoder, self._frozen[key], {}, rowwise=True)
        return replace(made, train=self.through(made, "train"))

    def through(self, converted: Converted, split: Split) -> Arrays:
        """What a converter gives for the rows of a split; of one that learnt nothing, computed once a row."""
        if not converted.rowwise:
            return converted.fitted.convert(self.arrays([(converted.column, converted.encoder)], split))
        rows = self.rows[split]
        found = concatenate([self._of_rows(converted, part) for part in rows.parts])
        return found if rows.at is None else take(found, rows.at)

    def _of_rows(self, converted: Converted, part: Split) -> Arrays:
        """What a converter that learnt nothing gives for one part of the dataset's split: kept for all runs."""
        block = converted.fitted.block
        if (block.name, part) not in self._rowwise:
            make = lambda: self._convert_part(converted, part)  # noqa: E731
            self._rowwise[block.name, part] = self.kept(f"rows:{block.name}:{part}", make)
        return self._rowwise[block.name, part]

    def _convert_part(self, converted: Converted, part: Split) -> Arrays:
        values, block = self._of_part(converted.column, part), converted.source
        encoded = self._encode(values, converted.encoder, block)
        return converted.fitted.convert(encoded)
