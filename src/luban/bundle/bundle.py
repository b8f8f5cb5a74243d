"""The bundle: one artifact that gives the same answer everywhere.

    rows ─ row steps ─ context ─ encode ─► arrays ─ stages ─► heads ─ decode ─► answers

Loading audits first, then builds, then answers the example rows and compares. A loaded bundle is
immutable, and threads may share it. It does not know how the model was made, who may use it, or where
it is served. Context is empty in this protocol: rows are self-contained.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from luban.bundle.audit import audit
from luban.bundle.manifest import Manifest
from luban.bundle.preprocess import Preprocess, Values
from luban.catalog import RUNTIMES, TASKS
from luban.data.schema import Schema
from luban.data.table import Table
from luban.errors import BundleError
from luban.features.base import Encoder, EncoderState, SideBySide
from luban.features.calls import MAX_ROWS, chunks
from luban.features.kinds import PARTS, Arrays, Block, num_rows, pad, take
from luban.tasks.base import Task, TaskOptions

HEAD = "head"
NO_NUMBER = "the model gave no number"
"""The error of a row for which outputs are NaN or infinite."""
EXAMPLES, EXAMPLE_ROWS = "examples.safetensors", "examples.json"
SELF_TEST_TOLERANCE = 1e-4
ROUNDED_TOLERANCE = 0.05
"""Of graphs that round activations to integers, relative to the largest output: where sums end a hair from
the middle between two integers, another processor may round the other way."""
Rows: TypeAlias = Sequence[Mapping[str, Any]] | pa.RecordBatch | pa.Table


class Bundle:
    """A loaded bundle.

    `Bundle.load(path).predict([{"text": "…"}]).rows()` is all that most callers need. `rounds` says whether its
    graph rounds activations to integers, so that answers are the same up to roundings and no nearer.
    """

    folder: Path | None = None
    """Where it was loaded from, for those who look into its files."""

    def __init__(self, manifest: Manifest, files: Mapping[str, bytes], num_threads: int) -> None:
        self.manifest = manifest
        self.schema: Schema = manifest.dataset_schema
        self.task: Task = TASKS.make(manifest.task.kind, manifest.task.config)
        self.preprocess = Preprocess(self.schema, manifest.row_steps)
        self.encoders = [(spec.column, self._encoder(spec.column, spec, files)) for spec in manifest.encoders]
        self.blocks: tuple[Block, ...] = tuple(encoder.block(column) for column, encoder in self.encoders)
        self._stages = [RUNTIMES.resolve(stage.runtime)().open(stage, files, num_threads) for stage in manifest.stages]
        self._is_ragged = any(block.kind in ("bag", "tokens") for block in self.blocks)
        self._encode_together()
        self._takes = {name for stage in manifest.stages for name in stage.takes}
        self._examples = files.get(EXAMPLES), files.get(EXAMPLE_ROWS)
        # Operators stand in the file by name; parsing the whole graph again would cost more than the rest.
        self.rounds = any(b"QuantizeLinear" in files[name] for stage in manifest.stages for name in stage.files)

    @classmethod
    def load(cls, path: str | Path, num_threads: int = 1) -> Bundle:
        """Audit, build and self-test the bundle in the folder `path`.

        Raises BundleError naming the file or field that is wrong. Runs no code from the bundle.
        """
        manifest, files = audit(Path(path))
        bundle = cls(manifest, files, num_threads)
        bundle.folder = Path(path)
        bundle.self_test()
        return bundle

    def __repr__(self) -> str:
        return f"Bundle({self.manifest.name!r}, {self.identity[:12]})"

    @property
    def identity(self) -> str:
        """Hash of all that decides answers."""
        return self.manifest.identity

    @property
    def columns(self) -> dict[str, str]:
        """The columns of an answer, in order: name to JSON type."""
        return self.task.columns(self.manifest.task.decoding)

    def predict(self, rows: Rows, options: TaskOptions | None = None) -> Table:
        """One answer a row, in order; a bad row gets an error and stops no other.

        `rows` are dictionaries by column name, or an Arrow batch or table; raw values, as people
        write them. `options` is the task's request model (`bundle.task.Options`).
        """
        options = options if options is not None else self.task.Options()
        values = self.values(rows)
        bad = [position for position, error in enumerate(values.errors) if error is not None]
        if not bad:
            return self._decode(self.run(self.encode(values.columns)), options)
        good = [position for position, error in enumerate(values.errors) if error is None]
        kept = {name: [column[position] for position in good] for name, column in values.columns.items()}
        return _spread(self._decode(self.run(self.encode(kept)), options), good, values.errors)

    def values(self, rows: Rows) -> Values:
        """Row steps and parsing: parsed values by column, and what is wrong by row."""
        if isinstance(rows, (pa.RecordBatch, pa.Table)):
            return self.preprocess.batch(rows)
        return self.preprocess.rows(rows)

    def encode(self, columns: Mapping[str, Sequence[Any]]) -> Arrays:
        """Arrays by full name, ragged, for parsed values by column."""
        arrays: Arrays = {}
        for names, parts, encode in self._side_by_side:
            for part, stacked in encode([columns[name] for name in names]).items():
                arrays.update(zip(parts[part], stacked, strict=True))
        for column, encoder, block in self._alone:
            arrays.update(encoder.encode(columns[column]).named(block))
        return arrays

    def _encode_together(self) -> None:
        """Settle which columns are encoded by one call."""
        self._side_by_side: list[tuple[list[str], dict[str, list[str]], SideBySide]] = []
        self._alone: list[tuple[str, Encoder, Block]] = []
        by_class: dict[type[Encoder], list[tuple[str, Encoder, Block]]] = {}
        for (column, encoder), block in zip(self.encoders, self.blocks, strict=True):
            by_class.setdefault(type(encoder), []).append((column, encoder, block))
        for kind, found in by_class.items():
            together = kind.side_by_side([encoder for _, encoder, _ in found]) if len(found) > 1 else None
            if together is None:
                self._alone += found
            else:
                parts = {part: [block.part(part) for _, _, block in found] for part in PARTS[kind.array_kind]}
                parts["present"] = [block.part("present") for _, _, block in found]
                self._side_by_side.append(([column for column, _, _ in found], parts, together))

    def run(self, arrays: Arrays) -> np.ndarray:
        """Outputs [B, n] float32 of the last stage, before squashing."""
        count = num_rows(arrays)
        if count <= MAX_ROWS and not self._is_ragged:
            return self._run_padded(arrays)
        outputs = np.zeros((count, self.manifest.task.width), np.float32)
        for rows in chunks(arrays):
            if len(rows) == count:
                return self._run_padded(pad(arrays))
            outputs[rows] = self._run_padded(pad(take(arrays, rows)))
        return outputs

    def _run_padded(self, arrays: Arrays) -> np.ndarray:
        found = arrays
        for run in self._stages:
            found = {**found, **run(found)}
        return found[HEAD]

    def _decode(self, outputs: np.ndarray, options: TaskOptions) -> Table:
        decoding = self.manifest.task.decoding
        if not len(outputs) or (np.isfinite(outputs.max()) and np.isfinite(outputs.min())):
            return self.task.decode(outputs, decoding, options)
        # A class that cannot be may have minus infinity; a largest output that is no number is no answer.
        there = np.isfinite(outputs.max(axis=1))
        errors = [None if is_there else NO_NUMBER for is_there in there.tolist()]
        return _spread(self.task.decode(outputs[there], decoding, options), np.flatnonzero(there).tolist(), errors)

    def self_test(self) -> None:
        """Answer the example arrays; raises BundleError where outputs are not those that were kept."""
        data = self._examples[0]
        if data is None:
            raise BundleError(f"The bundle has no {EXAMPLES}.", "Write it again.")
        from safetensors.numpy import load

        arrays = load(data)
        expected = arrays.pop(HEAD)
        found = self._run_padded(arrays)
        difference = float(np.abs(found - expected).max(initial=0)) if found.shape == expected.shape else float("inf")
        allowed = SELF_TEST_TOLERANCE
        if self.rounds:
            allowed = ROUNDED_TOLERANCE * max(1.0, float(np.abs(expected).max(initial=0)))
        if not difference <= allowed:
            raise BundleError(
                f"The bundle answers its own examples differently here: largest difference {difference:.2g}, "
                f"allowed {allowed:.0e}.",
                "This machine's ONNX Runtime is faulty or too old; try another version.",
            )

    def example_rows(self) -> list[dict[str, Any]]:
        """A few rows of inputs like those it learnt from, as JSON values."""
        data = self._examples[1]
        rows: list[dict[str, Any]] = json.loads(data) if data is not None else []
        return rows

    def _encoder(self, column: str, spec: Any, files: Mapping[str, bytes]) -> Encoder:
        from safetensors.numpy import load

        tensors = load(files[spec.tensors]) if spec.tensors is not None else {}
        state = EncoderState(json.loads(files[spec.file]), tensors)
        encoder: Encoder = self.preprocess.features[column].restore(spec.array_kind, state)
        if encoder.state_fingerprint != spec.fingerprint:
            raise BundleError(f"The encoder of `{column}` is not the one that the manifest names.", "Copy it again.")
        return encoder


def _spread(answers: Table, at: Sequence[int], errors: Sequence[str | None]) -> Table:
    """Answers to the rows `at` these positions among all, which have these `errors`."""
    all_errors = list(errors)
    for position, error in zip(at, answers.errors, strict=True):
        all_errors[position] = error
    spread: dict[str, list[Any]] = {}
    for name, answered in answers.columns.items():
        spread[name] = [None] * len(all_errors)
        for position, answer in zip(at, answered, strict=True):
            spread[name][position] = answer
    return Table(spread, all_errors)
