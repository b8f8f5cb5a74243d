"""G004: does an answer depend on which other rows are in its batch?

A sample of test rows, long and short ones included, is answered alone, all together, and in reverse
order beside a stranger; the outputs before squashing and the answers are compared.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from pydantic import Field

from luban.release.gates.base import Case, Gate, Said, Verdict


class BatchNeighbours(Gate):
    """Passes if outputs agree to the tolerance and every answer's first column is the same."""

    code = "G004"
    title = "Is an answer independent of its batch?"

    class Config(Gate.Config):
        """How many rows are tried, and how near is the same."""

        num_rows: int = Field(64, ge=2, le=10_000)
        """Test rows that are sampled."""
        tolerance: float = Field(1e-6, gt=0, le=0.1)
        """Largest difference allowed in an output, relative to it where it is above 1."""
        rounded_tolerance: float = Field(0.05, gt=0, le=0.5)
        """The same for a compressed graph that rounds to integers; no label may change in either."""

    def check(self, case: Case) -> Verdict:
        """Answer the sample in three ways."""
        rows = _sample(case, self.config.num_rows)
        if len(rows) < 2:
            return self.not_applicable(Said("gate_few_rows", {"rows": str(len(rows))}))
        alone = np.concatenate([_outputs(case, [row]) for row in rows])
        together = _outputs(case, rows)
        mixed = _outputs(case, [*rows[::-1], rows[0]])[: len(rows)][::-1]
        scale = np.maximum(1.0, np.abs(alone))
        largest = max(float((np.abs(other - alone) / scale).max()) for other in (together, mixed))
        moved = [
            position
            for position, (a, b) in enumerate(zip(_answers(case, alone), _answers(case, together), strict=True))
            if isinstance(a, str) and a != b
        ]
        allowed = self.config.rounded_tolerance if case.bundle.rounds else self.config.tolerance
        figures = {"rows": str(len(rows)), "largest": f"{largest:.2g}", "allowed": f"{allowed:g}"}
        found = [Said("gate_neighbours", figures)]
        if largest <= allowed and not moved:
            return self.passed(found)
        if moved:
            found.append(Said("gate_labels_change", {"count": str(len(moved))}))
        return self.failed(found, Said("gate_mixes"))


def _sample(case: Case, num_rows: int) -> list[dict[str, object]]:
    """Test rows evenly spread over the split, that have some input."""
    names = [column.name for column in case.bundle.schema.inputs]
    total = case.dataset.splits.get("test", 0)
    picked = np.unique(np.linspace(0, max(total - 1, 0), num=min(num_rows, total)).astype(np.int64))
    rows: list[dict[str, object]] = []
    start = 0
    for batch in case.dataset.batches(names, "test"):
        here = picked[(picked >= start) & (picked < start + batch.num_rows)] - start
        rows += batch.take(pa.array(here)).to_pylist()
        start += batch.num_rows
    return [row for row in rows if any(value is not None for value in row.values())]


def _outputs(case: Case, rows: list[dict[str, object]]) -> np.ndarray:
    values = case.bundle.values(rows)
    return np.asarray(case.bundle.run(case.bundle.encode(values.columns)), dtype=np.float64)


def _answers(case: Case, outputs: np.ndarray) -> list[object]:
    task = case.bundle.task
    table = task.decode(outputs, case.bundle.manifest.task.decoding, task.Options())
    return next(iter(table.columns.values()))
