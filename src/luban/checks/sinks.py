"""Checks of sinks: whole files or none."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa

from luban.data.sinks import EXTENSIONS
from luban.data.sources import open_path

ROWS = pa.record_batch({"text": ["好", 'b,"c"\nd'], "value": [0.5, 1.25]})


def publishes_whole(component: Any) -> None:
    """What was written is read back; nothing else is left in the folder."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"out{_extension(component)}"
        sink = component()
        with sink:
            sink.open(str(path), ROWS.schema)
            sink.write(ROWS)
        assert [p.name for p in Path(folder).iterdir()] == [path.name]
        found = [row for batch in open_path(str(path)).read() for row in batch.rows.to_pylist()]
        assert [(row["text"], float(row["value"])) for row in found] == [("好", 0.5), ('b,"c"\nd', 1.25)]


def leaves_nothing_when_it_fails(component: Any) -> None:
    """An error inside the block leaves no file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"out{_extension(component)}"
        sink = component()
        try:
            with sink:
                sink.open(str(path), ROWS.schema)
                sink.write(ROWS)
                raise InterruptedError
        except InterruptedError:
            assert list(Path(folder).iterdir()) == []


def _extension(component: Any) -> str:
    return next(extension for extension, kind in EXTENSIONS.items() if kind == component.kind)


CHECKS = (publishes_whole, leaves_nothing_when_it_fails)
