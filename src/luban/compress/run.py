"""The verb `compress`: the trained bundle through every method; the best that pays takes its place.

It comes before `evaluate`, so that what is evaluated, explained and released is the final bundle. The
folder that it leaves is like that of `train`: the same files, the bundle and the outputs on test rows
exchanged where a method was accepted, and what was tried in `training.json` under `compression`; the judged model
stays as it was.
Decided here: ranges come from training rows, verdicts from rows that nothing compared has seen. A bundle that was
fitted again on validation rows has seen them, so what a method loses is measured on the model as it was before that
(`judged`), compressed by the same method; time, size and answers beside others are those of the bundle. Test rows are
answered by the compressed graph, written away unseen, beside the outputs that the uncompressed one had. What the
clock says is a decision, recorded before it is used.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow as pa

from luban.bundle.bundle import Bundle
from luban.bundle.write import GRAPH, with_graph
from luban.catalog import COMPRESSORS, Choice, canonical
from luban.compress.base import CompressContext, Compressor
from luban.compress.config import CompressConfig
from luban.compress.timing import compare_times
from luban.compress.trial import Rule, judge, moved, quality, size_mb
from luban.data.dataset import Dataset, Split
from luban.errors import BundleError
from luban.models.base import Refusal
from luban.models.graph_model import GraphModel
from luban.train.encode import TrainData
from luban.train.write import read_judged

Decide = Callable[[str, Callable[[], Any]], Any]
Step = Callable[[str, float], None]
TIMED_ROWS = 100


@dataclass(frozen=True)
class Asked:
    """What is to be compressed, and by which rule."""

    bundle: Bundle
    folder: Path
    """What `train` left."""
    data: TrainData
    config: CompressConfig
    rule: Rule
    judged_in: Path
    unseen: TrainData
    """The data with rows that the judged bundle has not seen as validation rows."""

    @cached_property
    def judged(self) -> Bundle:
        """The bundle, or the model as it was before it was fitted again."""
        return self.bundle if self.judged_in == self.folder / "bundle" else Bundle.load(self.judged_in)


def compress(
    trained: Path, data: TrainData, config: CompressConfig, rule: Rule, out: Path, decide: Decide, step: Step
) -> dict[str, Any]:
    """Try every method on the bundle in `trained` and write the folder `out`; returns what was tried.

    `out` is empty. `data` is the dataset that the bundle was trained on.
    """
    judged, unseen = read_judged(trained, data)
    asked = Asked(Bundle.load(trained / "bundle"), trained, data, config, rule, judged, unseen)
    found: list[dict[str, Any]] = []
    kept: list[tuple[float, str, Path]] = []
    for choice in methods(config):
        step(choice.kind, len(found) / len(methods(config)))
        folder = out / f"try-{len(found)}"
        record = _try(asked, choice, folder, decide)
        found.append(record)
        if record["status"] == "accepted":
            kept.append((record["row"]["value"], choice.kind, folder))
    best = min(kept)[1:] if kept else None
    report = {"chosen": best[0] if best else None, "max_drop": rule.max_drop, "tried": found}
    _write(asked, best[1] if best else None, report, out)
    return report


def methods(config: CompressConfig) -> list[Choice]:
    """What is tried: every method of the core, or those that are named."""
    if config.methods == "auto":
        return [Choice(name, COMPRESSORS.resolve(name).Config()) for name in COMPRESSORS.own()]
    return list(config.methods)


def _try(asked: Asked, choice: Choice, folder: Path, decide: Decide) -> dict[str, Any]:
    """One method's record: what it is, what was measured, the verdict; the bundle in `folder` if there is one."""
    method: Compressor = COMPRESSORS.resolve(choice.kind)(choice.config)
    known = {"method": choice.kind, "config": choice.config.identity()}
    refused = {**known, "status": "refused"}
    graph = (asked.folder / "bundle" / GRAPH).read_bytes()
    reason = method.supports(onnx.load_model_from_string(graph))
    if reason is not None:
        return {**refused, "code": "unsupported", "reason": _sentence(reason)}
    if not len(asked.unseen.y("valid")):
        return {**refused, "code": "no_rows", "reason": "There are no validation rows to judge it by."}
    context = CompressContext(asked.bundle.manifest.task.width, _calibration(asked))
    made = method.compress(graph, context)
    if isinstance(made, Refusal):
        return {**refused, "code": "failed", "reason": _sentence(made.reason)}
    honest = made if asked.judged is asked.bundle else _judged(asked, method)
    if isinstance(honest, Refusal):
        return {**refused, "code": "failed", "reason": _sentence(honest.reason)}
    try:
        after = _bundle(asked, made, folder)
    except BundleError as error:
        return {**refused, "code": "failed", "reason": f"The compressed bundle is refused. {error.message}"}
    figures = {**known, **_lost(asked, honest), **_measured(asked, after, choice.kind, decide)}
    return judge(figures, asked.rule)


def _judged(asked: Asked, method: Compressor) -> bytes | Refusal:
    """The judged model's graph through the method, with ranges of rows that it learnt from."""
    graph, unseen = (asked.judged_in / GRAPH).read_bytes(), asked.unseen
    reason = method.supports(onnx.load_model_from_string(graph))
    if reason is not None:
        return Refusal(
            f"before it was fitted again the model cannot be compressed, so that nothing says what is lost: {reason}"
        )
    learnt = unseen.rows["train"].only(_spread(len(unseen.y("train")), asked.config.calibration_rows))
    few = unseen.with_rows({**unseen.rows, "train": learnt})
    arrays = few.arrays(asked.judged.encoders, "train")
    return method.compress(graph, CompressContext(asked.judged.manifest.task.width, arrays))


def _lost(asked: Asked, graph: bytes) -> dict[str, Any]:
    """What the judged model loses on rows that neither it nor what was made of it has seen."""
    arrays = asked.unseen.arrays(asked.judged.encoders, "valid")
    old = GraphModel((asked.judged_in / GRAPH).read_bytes()).predict(arrays)
    return quality(asked.judged, (old, GraphModel(graph).predict(arrays)), asked.unseen.y("valid"))


def _measured(asked: Asked, after: Bundle, name: str, decide: Decide) -> dict[str, Any]:
    before = asked.bundle
    rows = list(_rows(before, asked.data.dataset, "valid", TIMED_ROWS))
    changed, num = moved(after, rows)
    times = decide(f"{name}:times", lambda: compare_times(before, after, rows))
    return {
        "moved": changed,
        "asked": num,
        "size_mb": [size_mb(before), size_mb(after)],
        **times,
    }


def _bundle(asked: Asked, graph: bytes, folder: Path) -> Bundle:
    """The bundle with another graph, written to `folder` and loaded."""
    folder.mkdir()
    with_graph(asked.folder / "bundle", folder, graph)
    return Bundle.load(folder)


def _calibration(asked: Asked) -> dict[str, np.ndarray]:
    """Bulk arrays of training rows, evenly spread."""
    rows = list(_rows(asked.bundle, asked.data.dataset, "train", asked.config.calibration_rows))
    return asked.bundle.encode(asked.bundle.values(rows).columns)


def _rows(bundle: Bundle, dataset: Dataset, split: Split, count: int) -> Iterator[dict[str, Any]]:
    """Up to `count` rows of a split, evenly spread over it, read in batches."""
    names = [column.name for column in bundle.schema.inputs if column.name in dataset.schema]
    picked = _spread(dataset.splits.get(split, 0), count)
    start = 0
    for batch in dataset.batches(names, split):
        here = picked[(picked >= start) & (picked < start + batch.num_rows)] - start
        yield from batch.take(pa.array(here)).to_pylist()
        start += batch.num_rows


def _spread(total: int, count: int) -> np.ndarray:
    """Up to `count` positions [M] int64 of `total`, evenly spread."""
    return np.unique(np.linspace(0, max(total - 1, 0), num=min(count, total)).astype(np.int64))


def _write(asked: Asked, accepted: Path | None, report: dict[str, Any], out: Path) -> None:
    """The folder as `train` left it, with the accepted bundle in place; what else was tried is removed."""
    from safetensors.numpy import load_file, save

    training = json.loads((asked.folder / "training.json").read_bytes())
    _copy(asked.folder, out, left_out=("training.json", *(("bundle",) if accepted else ())))
    if accepted is not None:
        accepted.rename(out / "bundle")
        outputs = load_file(asked.folder / "outputs.safetensors")
        arrays = asked.data.arrays(asked.bundle.encoders, "test")
        graph = GraphModel((out / "bundle" / GRAPH).read_bytes())
        answered = graph.predict(arrays) if len(outputs["y"]) else outputs["model"]
        changed = {**outputs, "model": np.asarray(answered, np.float64), "uncompressed": outputs["model"]}
        named = {name: np.ascontiguousarray(array) for name, array in changed.items()}
        (out / "outputs.safetensors").write_bytes(save(named))
    for folder in out.glob("try-*"):
        shutil.rmtree(folder)
    (out / "training.json").write_bytes(canonical({**training, "compression": report}))


def _copy(source: Path, target: Path, left_out: Sequence[str]) -> None:
    """Copy files, not their modes: what is published is read-only, what is being written must not be."""
    for path in sorted(source.rglob("*")):
        name = path.relative_to(source)
        if name.parts[0] in left_out:
            continue
        if path.is_dir():
            (target / name).mkdir()
        else:
            shutil.copyfile(path, target / name)


def _sentence(reason: str) -> str:
    return reason[:1].upper() + reason[1:].rstrip(".") + "."
