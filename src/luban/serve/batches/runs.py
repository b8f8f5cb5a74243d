"""Counts of what the batcher does: how long questions wait, how many rows go together, how long the model takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from luban.serve.watch.figures import Sample
from luban.serve.watch.tally import ROWS, Tally

if TYPE_CHECKING:
    from luban.serve.fleet.live import Served
    from luban.serve.watch.track import Track

MAX_VERSIONS = 50
OTHER = ("(other)", None)


class Waited(Protocol):
    """A question that waited: since when, by `time.perf_counter`, and the notes of its request."""

    @property
    def since(self) -> float: ...  # noqa: D102
    @property
    def track(self) -> Track | None: ...  # noqa: D102


class RunCounts:
    """Belongs to one event loop. Versions beyond MAX_VERSIONS are counted together."""

    def __init__(self) -> None:
        self._seconds: dict[tuple[str, int | None], Tally] = {}
        self._by_model: dict[str, tuple[Tally, Tally]] = {}

    def ran(self, served: Served, num_rows: int, waited: Sequence[Waited], began: float, ended: float) -> None:
        """One batch was asked; times by `time.perf_counter`."""
        key = (served.name, served.version)
        seconds = self._seconds.get(key)
        if seconds is None:
            key = key if len(self._seconds) < MAX_VERSIONS else OTHER
            seconds = self._seconds.setdefault(key, Tally())
        rows, queue = self._by_model.get(key[0]) or self._by_model.setdefault(key[0], (Tally(ROWS), Tally()))
        seconds.observe(ended - began)
        rows.observe(num_rows)
        for one in waited:
            queue.observe(began - one.since)
            if one.track is not None and one.track.spans is not None:
                one.track.spans += [("wait", one.since, began), ("model", began, ended)]

    def figures(self) -> Iterator[Sample]:
        """All of it."""
        for (model, version), seconds in list(self._seconds.items()):
            yield Sample("luban_model_run_seconds", (model, str(version or "")), seconds)
        for model, (rows, queue) in list(self._by_model.items()):
            yield Sample("luban_batch_rows", (model,), rows)
            yield Sample("luban_queue_seconds", (model,), queue)
