"""Small made datasets, and a training run's tools without a store: what is kept lies in a folder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from luban import lifecycle
from luban.catalog import Choice
from luban.data.dataset import Dataset
from luban.project import load_project
from luban.tasks.base import Task
from luban.train.config import TrainConfig
from luban.train.run import choose_task, train
from luban.train.tune.config import TuneConfig
from luban.train.way import Tools
from luban.train.write import Facts
from luban.workshop import Watch, Workshop

PROJECT = """\
name: made
owner: tests
purpose: A made table.
data:
  source: rows.csv
  columns: {{{columns}}}
  target: y
prepare: {{steps: [], split: {{{split}}}}}
"""


def dataset(
    folder: Path, header: str, rows: Sequence[Sequence[object]], columns: str, split: str = "valid: 0.2, test: 0.2"
) -> Dataset:
    """A dataset of these rows; `columns` and `split` are YAML between braces."""
    lines = [header, *(",".join(map(str, row)) for row in rows)]
    (folder / "rows.csv").write_text("\n".join(lines) + "\n", "utf-8")
    (folder / "luban.yaml").write_text(PROJECT.format(columns=columns, split=split), "utf-8")
    project, where = load_project(folder, ())
    with Workshop.open(project, where).working() as shop:
        return lifecycle.prepare(shop)


@dataclass
class Memory:
    """What a training run keeps and decides. `killed_at` raises before the result of that number is made."""

    folder: Path
    killed_at: int | None = None
    made: list[str] = field(default_factory=list)
    decisions: dict[str, Any] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)

    def unfinished(self, key: str) -> None:
        """Nothing here trains for long."""

    def __call__(self, key: str, make: Callable[[Path], None]) -> Path:
        place = self.folder / hashlib.sha256(key.encode()).hexdigest()
        if not place.exists():
            if self.killed_at is not None and len(self.made) == self.killed_at:
                raise KeyboardInterrupt
            scratch = place.with_suffix(".scratch")
            scratch.mkdir(parents=True)
            make(scratch)
            scratch.rename(place)
            self.made.append(key)
        return place

    def decide(self, key: str, make: Callable[[], Any]) -> Any:
        if key not in self.decisions:
            self.decisions[key] = make()
        return self.decisions[key]

    def tools(self, **config: Any) -> Tools:
        return Tools(TrainConfig.model_validate({"num_threads": 1, **config}), self, self.decide, Watch())

    def train(
        self,
        data: Dataset,
        out: Path,
        seed: int = 0,
        task: str | Choice = "auto",
        tune: dict[str, Any] | None = None,
        **config: Any,
    ) -> dict[str, Any]:
        out.mkdir()
        watch = Watch()
        watch.candidate = self.rows.append  # type: ignore[method-assign]
        settings = TrainConfig.model_validate({"num_threads": 1, **config})
        facts = Facts("made", "tests", "A made table.")
        search = None if tune is None else TuneConfig.model_validate(tune)
        tools = Tools(settings, self, self.decide, watch)
        return train(data, task_of(data, task), tools, facts, seed, out, search)


def task_of(data: Dataset, task: str | Choice = "auto") -> Task:
    """The task that suits the target, or the one that is named."""
    return choose_task(task, data)
