"""What a bundle costs: time for one row in process, and size.

Decided here: rows are answered one by one through the whole path, test rows in turn, after a warm-up;
what the clock said is for the caller to record as a decision before it is used. Knows no gate.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from luban.bundle.bundle import Bundle
from luban.data.dataset import Dataset

WARM_UP, CALLS, MAX_ROWS = 20, 400, 100
MAX_SECONDS = 5.0
MEGABYTE = 1_000_000


def measure(bundle: Bundle, dataset: Dataset) -> dict[str, Any]:
    """`p50_ms` and `p95_ms` of one row (null without test rows), `calls` they stand on, `size_mb`."""
    names = [column.name for column in bundle.schema.inputs]
    rows: list[dict[str, Any]] = []
    for batch in dataset.batches(names, "test", batch_rows=MAX_ROWS):
        rows += batch.slice(0, MAX_ROWS - len(rows)).to_pylist()
        if len(rows) >= MAX_ROWS:
            break
    size_mb = round(sum(file.bytes for file in bundle.manifest.files.values()) / MEGABYTE, 6)
    if not rows:
        return {"p50_ms": None, "p95_ms": None, "calls": 0, "size_mb": size_mb}
    taken = _times(bundle, rows)
    p50, p95 = np.quantile(taken, [0.5, 0.95])
    return {"p50_ms": round(float(p50), 4), "p95_ms": round(float(p95), 4), "calls": len(taken), "size_mb": size_mb}


def _times(bundle: Bundle, rows: list[dict[str, Any]]) -> list[float]:
    """Milliseconds of each call; at least 20, then until enough calls or seconds are spent."""
    for number in range(WARM_UP):
        bundle.predict([rows[number % len(rows)]])
    found: list[float] = []
    end = time.perf_counter() + MAX_SECONDS
    while len(found) < CALLS and (len(found) < WARM_UP or time.perf_counter() < end):
        row = rows[len(found) % len(rows)]
        start = time.perf_counter()
        bundle.predict([row])
        found.append((time.perf_counter() - start) * 1000)
    return found
