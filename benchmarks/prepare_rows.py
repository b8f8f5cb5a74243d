"""Many rows of CSV through row steps, exact duplicates, conflicts and split: seconds and resident memory.

    python -m benchmarks.prepare_rows [--rows 20000000] [--workers 1] [--folder DIR] [--quick]

Five columns (whole number, fraction, category, short text, label), one row in ten a copy, one copy in ten with
another label. Prints one line of JSON. The rows are generated, so the figures are about speed and
memory only.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from benchmarks.figures import emit
from luban.catalog import SOURCES
from luban.data.config import DataConfig
from luban.engine.local import LocalEngine
from luban.prepare.config import PrepareConfig
from luban.prepare.run import prepare

BATCH = 500_000
STEPS = ["unicode", "missing", {"kind": "duplicates", "action": "drop"}, "label-conflicts"]


def generate(path: Path, rows: int, seed: int = 0) -> None:
    """Write the CSV; copies are of rows of the same half million."""
    random = np.random.default_rng(seed)
    cities = pa.array([f"city {number}" for number in range(200)])
    labels = pa.array(["no", "yes"])
    schema = pa.schema(
        [("count", pa.int64()), ("price", pa.float64())] + [(n, pa.string()) for n in ("city", "note", "label")]
    )
    with pacsv.CSVWriter(path, schema) as writer:
        for start in range(0, rows, BATCH):
            size = min(BATCH, rows - start)
            notes = pc.binary_join_element_wise(
                pa.scalar("order"), pa.array(random.integers(0, 1 << 40, size)).cast(pa.string()), " "
            )
            table = pa.table(
                [
                    pa.array(random.integers(0, 1_000_000, size)),
                    pa.array(np.round(random.random(size) * 1000, 2)),
                    cities.take(pa.array(random.integers(0, 200, size))),
                    notes,
                    labels.take(pa.array(random.integers(0, 2, size))),
                ],
                schema=schema,
            )
            source = np.arange(size)
            copies = np.flatnonzero(random.random(size) < 0.1)
            source[copies] = random.integers(0, size, len(copies))
            copied = table.take(pa.array(source))
            flipped = np.zeros(size, bool)
            flipped[copies] = random.random(len(copies)) < 0.1
            label = pc.if_else(
                pa.array(flipped), pc.if_else(pc.equal(copied["label"], "no"), "yes", "no"), copied["label"]
            )
            writer.write(copied.set_column(4, "label", label))


def cpu_seconds() -> float:
    """Of this process alone, as is the peak of memory: with several workers there is theirs beside it."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.prepare_rows")
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--quick", action="store_true", help="200,000 rows")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rows = 200_000
    folder = Path(tempfile.mkdtemp(dir=arguments.folder))
    try:
        path, out = folder / "rows.csv", folder / "dataset"
        generate(path, arguments.rows)
        generated = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        out.mkdir()
        data = DataConfig.model_validate({"source": str(path), "target": "label"})
        config = PrepareConfig.model_validate({"steps": STEPS, "num_workers": arguments.workers})
        stages: dict[str, float] = {}
        begun, spent = time.perf_counter(), cpu_seconds()

        def note(what: str, share: float) -> None:
            stages.setdefault(what.split(":")[0], round(time.perf_counter() - begun, 1))

        source = SOURCES.make(data.source.kind, data.source.config.model_dump())
        dataset = prepare(source, data, config, out, seed=0, engine=LocalEngine(), progress=note)
        seconds = time.perf_counter() - begun
        figures = {
            "rows": arguments.rows,
            "csv_mb": round(path.stat().st_size / 1e6),
            "workers": arguments.workers,
            "seconds": round(seconds, 1),
            "cpu_seconds": round(cpu_seconds() - spent, 1),
            "cpu_us_per_row": round((cpu_seconds() - spent) * 1e6 / arguments.rows, 2),
            "peak_resident_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
            "peak_while_generating_mb": round(generated / 1024),
            "begun_at_s": stages,
            "counts": dataset.report["rows"],
            "fingerprint": dataset.fingerprint[:12],
        }
        emit("prepare_rows", "rows of CSV", **figures)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
