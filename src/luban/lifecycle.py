"""The line of verbs: prepare, train, compress, evaluate, explain, release.

Each verb is one call that takes what the one before it gave. Nothing here branches on a task, a model
family or an engine; what a verb does is in its package, how its result is kept is in `workshop`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from luban.bundle.bundle import Bundle
from luban.catalog import SOURCES, canonical
from luban.compress.run import compress as compress_bundle
from luban.compress.trial import Rule
from luban.data.dataset import Dataset
from luban.evaluate.run import evaluate_bundle
from luban.explain.run import explain_bundle
from luban.prepare.run import prepare as prepare_dataset
from luban.release.candidate import Candidate
from luban.release.registry import Version
from luban.release.run import check, publish
from luban.store.home import Parts
from luban.train.encode import TrainData
from luban.train.run import choose_task
from luban.train.run import train as train_models
from luban.train.way import Tools
from luban.train.write import Facts
from luban.workshop import Workshop

PREPARE_CODE = ("luban.prepare", "luban.data", "luban.features", "luban.engine")
TRAIN_CODE = ("luban.train", "luban.models", "luban.features", "luban.tasks", "luban.bundle")
COMPRESS_CODE = ("luban.compress", "luban.bundle")
EVALUATE_CODE = ("luban.evaluate", "luban.tasks", "luban.features", "luban.bundle", "luban.data")
EXPLAIN_CODE = ("luban.explain", "luban.evaluate", "luban.tasks", "luban.features", "luban.bundle", "luban.models")


@dataclass(frozen=True)
class Trained:
    """What `train` and then `compress` leave: the bundle without reports, outputs on test rows, the leaderboard.

    `keys` are those of the verbs that made it, in order.
    """

    folder: Path
    keys: dict[str, str]

    @property
    def bundle(self) -> Path:
        """Folder of the bundle."""
        return self.folder / "bundle"

    @property
    def report(self) -> dict[str, Any]:
        """The training report."""
        found: dict[str, Any] = json.loads((self.folder / "training.json").read_bytes())
        return found


@dataclass(frozen=True)
class Evaluated:
    """What `evaluate` leaves: figures, and errors to read, which are rows' own values."""

    folder: Path

    @property
    def report(self) -> dict[str, Any]:
        """The evaluation."""
        found: dict[str, Any] = json.loads((self.folder / "evaluation.json").read_bytes())
        return found

    @property
    def errors(self) -> dict[str, Any] | None:
        """Errors to read; None where none were wanted."""
        path = self.folder / "errors.json"
        return json.loads(path.read_bytes()) if path.exists() else None


@dataclass(frozen=True)
class Explained:
    """What `explain` leaves: figures, and explained rows, which are rows' own values. `key` is that of its result."""

    folder: Path
    key: str

    @property
    def report(self) -> dict[str, Any]:
        """Which methods were used, what they found about the model, and how far they can be trusted."""
        found: dict[str, Any] = json.loads((self.folder / "explanation.json").read_bytes())
        return found

    @property
    def rows(self) -> dict[str, Any] | None:
        """Explained rows; None where there are none."""
        path = self.folder / "explained.json"
        return json.loads(path.read_bytes()) if path.exists() else None


@dataclass(frozen=True)
class Outcome:
    """What a run came to."""

    dataset: Dataset
    trained: Trained
    evaluation: dict[str, Any]
    version: Version


def run(shop: Workshop, force: str | None = None) -> Outcome:
    """The whole line. `force` is the reason for releasing in spite of a failed gate."""
    dataset = prepare(shop)
    trained = compress(shop, dataset, train(shop, dataset))
    evaluated = evaluate(shop, dataset, trained)
    explained = explain(shop, dataset, trained)
    version = release(shop, dataset, trained, evaluated, explained, force)
    return Outcome(dataset, trained, evaluated.report, version)


def prepare(shop: Workshop) -> Dataset:
    """Raw rows to an immutable dataset with a split."""
    project = shop.project
    source = SOURCES.make(project.data.source.kind, project.data.source.config.model_dump()).at(shop.folder)
    config = [project.data.identity(), project.prepare.identity(), project.seed]
    key = shop.key("prepare", PREPARE_CODE, ("pyarrow", "ftfy", "rensa"), config, {"source": source.fingerprint()})

    def make(folder: Path, _: str) -> None:
        prepare_dataset(
            source,
            project.data,
            project.prepare,
            folder,
            seed=project.seed,
            engine=shop.engine,
            progress=shop.watch.step,
        )

    dataset = Dataset(shop.kept("prepare", key, make))
    lineage = dataset.info["lineage"]
    shop.home.ledger.add_dataset(dataset.fingerprint, str(shop.home.tree(key)), dataset.num_rows, lineage)
    return dataset


def train(shop: Workshop, dataset: Dataset) -> Trained:
    """A dataset to candidates, and the best of them to a bundle."""
    project = shop.project
    facts = Facts(project.name, project.owner, project.purpose)
    task = choose_task(project.task, dataset)
    settings, tune = project.train.at(shop.folder), project.tune and project.tune.at(shop.folder)
    config = [settings.identity(), project.seed, task.kind, task.config.identity(), vars(facts)]
    config.append(tune.identity() if tune else None)
    libraries = ["numpy", "scipy", "scikit-learn", "lightgbm", "onnx", "onnxruntime", "torch", "transformers"]
    libraries += ["optuna"] if tune else []
    key = shop.key("train", TRAIN_CODE, libraries, config, {"dataset": dataset.fingerprint})

    def make(folder: Path, key: str) -> None:
        ledger = shop.home.ledger
        tools = Tools(settings, Parts(shop.home, key, shop.lease), partial(ledger.decide, key), shop.watch)
        train_models(dataset, task, tools, facts, project.seed, folder, tune)
        (folder / "decisions.json").write_bytes(canonical({"train": ledger.decisions(key)}))

    return Trained(shop.kept("train", key, make), {"train": key})


def compress(shop: Workshop, dataset: Dataset, trained: Trained) -> Trained:
    """The trained bundle, or a smaller or faster one in its place where that pays."""
    project = shop.project
    rule = Rule(project.budget.max_drop, project.budget.size_mb, project.compress.min_gain)
    config = [project.compress.identity(), vars(rule)]
    key = shop.key(
        "compress", COMPRESS_CODE, ("numpy", "onnx", "onnxruntime"), config, {"trained": trained.keys["train"]}
    )

    def make(folder: Path, key: str) -> None:
        data = TrainData(dataset, Bundle.load(trained.bundle).task, project.seed)
        decide = partial(shop.home.ledger.decide, key)
        compress_bundle(trained.folder, data, project.compress, rule, folder, decide, shop.watch.step)
        decisions = json.loads((trained.folder / "decisions.json").read_bytes())
        found = {**decisions, "compress": shop.home.ledger.decisions(key)}
        (folder / "decisions.json").write_bytes(canonical(found))

    return Trained(shop.kept("compress", key, make), {**trained.keys, "compress": key})


def evaluate(shop: Workshop, dataset: Dataset, trained: Trained) -> Evaluated:
    """The chosen model on test rows, beside the baseline and the champion."""
    project = shop.project
    bundle = Bundle.load(trained.bundle, shop.project.train.threads)
    champion = shop.registry.find(project.name, "champion")
    opposing = None
    if champion is not None and champion.identity != bundle.identity:
        opposing = Bundle.load(shop.home.store.fetch(champion.tree), shop.project.train.threads)
    inputs = {
        "bundle": bundle.identity,
        "dataset": dataset.fingerprint,
        "champion": opposing.identity if opposing else "",
    }
    config = [project.evaluate.identity(), project.seed]
    key = shop.key("evaluate", EVALUATE_CODE, ("numpy", "scipy", "scikit-learn", "onnxruntime"), config, inputs)

    def make(folder: Path, _: str) -> None:
        found = evaluate_bundle(bundle, opposing, dataset, trained.folder, project.seed, project.evaluate)
        (folder / "evaluation.json").write_bytes(canonical(found.evaluation))
        if found.errors is not None:
            (folder / "errors.json").write_bytes(canonical(found.errors))

    return Evaluated(shop.kept("evaluate", key, make))


def explain(shop: Workshop, dataset: Dataset, trained: Trained) -> Explained:
    """What the chosen model looks at, and how far its explanations can be trusted."""
    project = shop.project
    bundle = Bundle.load(trained.bundle, project.train.threads)
    config = [project.explain.identity(), project.seed]
    inputs = {"trained": list(trained.keys.values())[-1], "dataset": dataset.fingerprint}
    key = shop.key("explain", EXPLAIN_CODE, ("numpy", "scikit-learn", "onnxruntime", "torch"), config, inputs)

    def make(folder: Path, key: str) -> None:
        decide = partial(shop.home.ledger.decide, key)
        found = explain_bundle(bundle, dataset, trained.folder, project.seed, project.explain, decide, shop.watch.step)
        (folder / "explanation.json").write_bytes(canonical(found.report))
        if found.rows is not None:
            (folder / "explained.json").write_bytes(canonical(found.rows))

    return Explained(shop.kept("explain", key, make), key)


def release(
    shop: Workshop,
    dataset: Dataset,
    trained: Trained,
    evaluated: Evaluated,
    explained: Explained,
    force: str | None = None,
) -> Version:
    """Through the gates into the registry."""
    candidate = Candidate(
        project=shop.project.model_dump(mode="json"),
        dataset=dataset,
        folder=trained.folder,
        keys=trained.keys,
        training=trained.report,
        evaluation=evaluated.report,
        errors=evaluated.errors,
        explanation=explained.report,
        explained=explained.rows,
        explain_key=explained.key,
        run_id=shop.run_id,
    )
    shop.watch.verb("release", False)
    decide = partial(shop.home.ledger.decide, candidate.last_key)
    verdicts = check(candidate, shop.project.release, decide, shop.watch.step)
    return publish(candidate, verdicts, shop.home, shop.registry, shop.actor, shop.project.release, force)
