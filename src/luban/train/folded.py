"""Training on folds: each candidate is fitted once a fold, and judged by what models that did not see a row say of it.

Decided here:

- folds are drawn over training and validation rows; whatever learns from rows (encoders, converters, the model) is
  fitted anew on each fold's training rows. The target's encoder alone is of all of them: it says what outputs mean;
- a fit that watches validation rows (rounds of trees, epochs) watches the fold that it is judged on, as it does with
  one validation split;
- a vote's outputs are cross-fitted: those of a fold come from weights chosen on the other folds. The
  weights that are released are chosen on all rows;
- a fold whose training rows show one class has nothing to learn: its model is the constant, with half a row for
  the class that it did not see;
- every fold's model is a kept result. The mean of folds (`bag`) is made for the candidate that is chosen alone.

Names no family but the baseline.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from luban.bundle.graph import GraphBuilder
from luban.catalog import FAMILIES, Choice, canonical
from luban.data.dataset import Dataset, Split
from luban.models.base import FitContext, Fitted, Member
from luban.models.graph_model import GraphModel
from luban.tasks.base import Task
from luban.train.candidate import Candidate, Decide, Spec, calibrated_loss, difference, inputs_of, read_candidate
from luban.train.config import FoldsConfig
from luban.train.encode import SPLITS, Rows, TrainData
from luban.train.folds import folds_of
from luban.train.given import ROWS, Known
from luban.train.specs import family_of
from luban.train.way import Tools, Way, fit, key_of, refit, teachable, voters_of

MOST_BYTES = 1 << 30
"""Arrays that are kept for the next candidate; beyond, a fold's are encoded again."""


class Folded(Way):
    """`train.folds`: candidates are chosen on the outputs of all rows, each by a model that did not see it."""

    def __init__(self, dataset: Dataset, task: Task, seed: int, config: FoldsConfig, tools: Tools) -> None:
        both, test = Rows(("train", "valid")), Rows(("test",))
        rows: dict[Split, Rows] = {"train": both, "valid": Rows(()), "test": test}
        self.data = TrainData(dataset, task, seed, rows, tools.kept, tools.config.imbalance)
        self.truth = self.data.y("train")
        self.fold = folds_of(self.data, config.num)
        self.num = int(self.fold.max()) + 1
        self._config, self._tools = config, tools
        tested = test if config.final == "bag" else Rows(())
        self.folds = [
            self.data.with_rows(
                {
                    "train": both.only(np.flatnonzero(self.fold != number)),
                    "valid": both.only(np.flatnonzero(self.fold == number)),
                    "test": tested,
                }
            )
            for number in range(self.num)
        ]

    def train(self, spec: Spec, members: Sequence[Candidate], seconds: Callable[[], float]) -> Candidate:
        """One fit a fold; a vote is fitted to the members' outputs."""
        if family_of(spec.choice).votes:
            return self._combined(spec, members)
        fits = []
        for number in range(self.num):
            left = lambda number=number: seconds() / (self.num - number)  # noqa: E731
            fits.append(self.fit_fold(spec, number, left))
        return self._joined(spec, fits)

    def fit_fold(self, spec: Spec, number: int, seconds: Callable[[], float]) -> Candidate:
        """The model of one fold."""
        data = self.folds[number]
        if sum(fold.held_bytes for fold in self.folds) > MOST_BYTES:
            for fold in self.folds:
                fold.forget()
        choice = spec.choice if teachable(data) else Choice("baseline", FAMILIES.resolve("baseline").Config())
        name = f"{spec.name} fold {number + 1}"
        label = f"{spec.name} fold {number + 1} of {self.num}"
        return fit(self._tools, f"fold:{key_of(Spec(name, spec.choice))}", Spec(name, choice), data, (), seconds, label)

    def _joined(self, spec: Spec, fits: Sequence[Candidate]) -> Candidate:
        """The folds' models as one candidate."""
        outputs = np.zeros((len(self.truth), self.data.head.width))
        for number, one in enumerate(fits):
            outputs[self.fold == number] = one.valid
        notes = "; ".join(dict.fromkeys(one.facts["notes"] for one in fits if one.facts["notes"]))
        facts = {
            "name": spec.name,
            "family": spec.choice.kind,
            "config": spec.choice.config.identity(),
            "parity": max(one.facts["parity"] for one in fits),
            "voters": [],
            "notes": notes,
            "decisions": {},
            "curve": fits[0].facts["curve"],
            "seconds": round(sum(one.facts["seconds"] for one in fits), 3),
            **self._losses(outputs),
        }
        return Candidate(spec, facts, b"", outputs, np.zeros((0, outputs.shape[1])), fits[0].folder, [], tuple(fits))

    def _losses(self, outputs: np.ndarray) -> dict[str, Any]:
        """Loss over all rows after calibration, and its deviation between folds."""
        task, data = self.data.task, self.data
        decoding = task.calibrate(data.target_encoder, outputs, self.truth)
        inside = [self.fold == number for number in range(self.num)]
        losses = [task.loss(outputs[rows], self.truth[rows], decoding) for rows in inside]
        return {
            "loss": calibrated_loss(data, outputs, self.truth),
            "spread": float(np.std(losses, ddof=1)),
            "fold_losses": losses,
        }

    def _combined(self, spec: Spec, members: Sequence[Candidate]) -> Candidate:
        """A vote: fitted to all rows, its outputs cross-fitted over folds."""

        def make(folder: Path) -> None:
            from safetensors.numpy import save

            began = time.monotonic()
            outputs = np.zeros((len(self.truth), self.data.head.width))
            for number in range(self.num):
                self._tools.watch.step(f"{spec.name} fold {number + 1} of {self.num}", number / self.num)
                inside = self.fold == number
                model = self._combine(spec, members, np.flatnonzero(~inside), lambda key, make: make())
                outputs[inside] = model.predict({ROWS: np.flatnonzero(inside)})
            whole = self._combine(spec, members, np.arange(len(self.truth)), self._tools.decide)
            facts = {
                "name": spec.name,
                "family": spec.choice.kind,
                "config": spec.choice.config.identity(),
                "parity": 0.0,
                "voters": [member.name for member in getattr(whole, "members", ())],
                "notes": getattr(whole, "notes", ""),
                "decisions": {},
                **self._losses(outputs),
            }
            (folder / "outputs.safetensors").write_bytes(save({"valid": outputs, "test": outputs[:0]}))
            (folder / "graph.onnx").write_bytes(b"")
            (folder / "seconds.json").write_bytes(canonical(round(time.monotonic() - began, 3)))
            (folder / "candidate.json").write_bytes(canonical(facts))

        return read_candidate(self._tools.keep(f"folds:{key_of(spec, members)}", make), spec, inputs_of(()))

    def _combine(self, spec: Spec, members: Sequence[Candidate], rows: np.ndarray, decide: Decide) -> Fitted:
        """A vote fitted to the members' outputs of some rows (positions [M])."""
        context = FitContext(
            head=self.data.head,
            blocks=(),
            valid={},
            y_valid=self.truth[rows],
            seed=self.data.seed,
            num_threads=self._tools.config.threads,
            loss=lambda outputs, y: calibrated_loss(self.data, outputs, y),
            decide=lambda key, make: decide(f"{spec.name}:{key}", make),
            members=tuple(Member(m.spec.name, m.spec.choice.kind, m.valid[rows], Known(m.valid)) for m in members),
        )
        return family_of(spec.choice).fit({}, self.truth[rows], context)

    def final(self, chosen: Candidate, done: Sequence[Candidate]) -> Candidate:
        """The chosen candidate fitted again on all rows, or the mean of its folds' models; a vote's members so."""
        voters = [self.final(c, done) for c in voters_of(chosen, done)]
        if self._config.final == "bag" and chosen.folds:
            return self._bagged(chosen)
        return refit(self._tools, chosen, voters, self.data)

    def _bagged(self, chosen: Candidate) -> Candidate:
        """The mean of the folds' models in one graph."""
        inputs = inputs_of(chosen.folds)

        def make(folder: Path) -> None:
            from safetensors.numpy import load_file, save

            began = time.monotonic()
            graph = mean_graph([one.graph for one in chosen.folds], self.data.head.width)
            test = np.mean([one.test for one in chosen.folds], axis=0)
            found = GraphModel(graph).predict(self.data.arrays(inputs.pairs, "test"))
            parity = difference(self.data, chosen.valid, self.truth, found, test)
            facts = {name: value for name, value in chosen.facts.items() if name != "seconds"}
            weights = {
                f"fold-{number}/{name}": array
                for number, one in enumerate(chosen.folds, 1)
                for name, array in sorted(load_file(one.folder / "checkpoint.safetensors").items())
            }
            (folder / "checkpoint.safetensors").write_bytes(save(weights))
            (folder / "outputs.safetensors").write_bytes(save({"valid": chosen.valid[:0], "test": test}))
            (folder / "graph.onnx").write_bytes(graph)
            (folder / "seconds.json").write_bytes(canonical(round(time.monotonic() - began, 3)))
            (folder / "candidate.json").write_bytes(canonical({**facts, "parity": max(parity, facts["parity"])}))

        self._tools.watch.step(f"{chosen.spec.name}: merging folds", 0.0)
        return read_candidate(self._tools.keep(f"bag:{key_of(chosen.spec)}", make), chosen.spec, inputs)

    def report(self) -> dict[str, Any]:
        """How many folds, of how many rows, and what becomes of their models."""
        rows = np.bincount(self.fold, minlength=self.num).tolist()
        return {"num": self.num, "asked": self._config.num, "final": self._config.final, "rows": rows}

    def baseline(self, trained: Candidate) -> Candidate:
        """The constant of all rows."""
        return refit(self._tools, trained, (), self.data)

    @property
    def ground(self) -> TrainData:
        """The first fold."""
        return self.folds[0]

    @property
    def written(self) -> TrainData:
        """Rows as the dataset deals them out."""
        plain: dict[Split, Rows] = {split: Rows((split,)) for split in SPLITS}
        return self.data.with_rows(plain)


def mean_graph(graphs: Sequence[bytes], width: int) -> bytes:
    """One graph whose output is the mean of those of these; what they read alike is read once."""
    builder = GraphBuilder()
    total = ""
    for graph in graphs:
        one = GraphModel(graph).export(builder)
        total = builder.node("Add", [total, one]) if total else one
    mean = builder.node("Mul", [total, builder.constant(np.float32(1 / len(graphs)))])
    return bytes(builder.build(mean, width).SerializeToString(deterministic=True))
