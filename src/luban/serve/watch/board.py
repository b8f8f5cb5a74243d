"""The figures of all worker processes, from a scrape of any one of them.

Each worker writes what it counted into a file of its own, every WRITE_S and whenever it is scraped; a scrape adds
the files up. A worker that died leaves its file: its counters go on counting (they are moved into `gone.json`, so that
the number of files stays small), its gauges do not. So no counter of the sum goes backwards, and what a killed worker
had counted after its last write, at most WRITE_S, is all that is lost. Whether a process is dead is
`store.process`'s to say. The folder belongs to one server, and is best in memory.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from luban.serve.watch.figures import FIGURES, Sample
from luban.serve.watch.scrape import merged
from luban.serve.watch.tally import Tally
from luban.store.process import is_dead, sign

WRITE_S = 0.5
GONE, LOCK = "gone.json", "lock"


class Board:
    """One worker's place in the folder that all share."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._signature = str(sign())
        self._name = f"worker-{hashlib.sha256(self._signature.encode()).hexdigest()[:24]}.json"

    def write(self, samples: Iterable[Sample]) -> None:
        """Put this worker's figures in place of its last ones."""
        self._folder.mkdir(parents=True, exist_ok=True)  # whoever clears temporary files may have taken it
        _replace(self._folder / self._name, {"by": self._signature, "samples": _plain(samples)})

    def read(self) -> list[Sample]:
        """The figures of all workers together, and what dead ones had counted."""
        with self._locked():
            gone = _load(self._folder / GONE) or {"samples": [], "names": []}
            living: list[Sample] = []
            newly = []
            for path in sorted(self._folder.glob("worker-*.json")):
                found = None if path.name in gone["names"] else _load(path)
                if found is None:
                    continue
                if path.name != self._name and is_dead(found["by"]):
                    newly.append((path, _samples(found)))
                else:
                    living += _samples(found)
            counted = _samples(gone)
            if newly:
                counted = self._take_over(counted, gone["names"], newly)
        return merged([*counted, *living])

    def _take_over(
        self, counted: list[Sample], names: list[str], newly: list[tuple[Path, list[Sample]]]
    ) -> list[Sample]:
        """Move the counters of dead workers into one file. Names first go in, so that none is counted twice."""
        kept = [one for _, samples in newly for one in samples if FIGURES[one.name].kind != "gauge"]
        counted = merged([*counted, *kept])
        still = [name for name in names if (self._folder / name).exists()]
        _replace(
            self._folder / GONE, {"names": [*still, *(path.name for path, _ in newly)], "samples": _plain(counted)}
        )
        for path, _ in newly:
            path.unlink(missing_ok=True)
        return counted

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with (self._folder / LOCK).open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _plain(samples: Iterable[Sample]) -> list[list[Any]]:
    return [[s.name, s.labels, s.value if not isinstance(s.value, Tally) else _of_tally(s.value)] for s in samples]


def _of_tally(tally: Tally) -> list[Any]:
    return [tally.bounds, tally.counts, tally.sum]


def _samples(found: dict[str, Any]) -> list[Sample]:
    return [
        Sample(name, tuple(labels), Tally(tuple(value[0]), value[1], value[2]) if isinstance(value, list) else value)
        for name, labels, value in found["samples"]
    ]


def _load(path: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    return found


def _replace(path: Path, data: dict[str, Any]) -> None:
    beside = path.with_suffix(f".{os.getpid()}.tmp")
    beside.write_bytes(orjson.dumps(data))
    beside.replace(path)
