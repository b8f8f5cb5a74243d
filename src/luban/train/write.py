"""What the verb `train` leaves: the bundle, outputs on test rows, the checkpoint, the report.

Where the bundle was fitted again on the rows that judged it, the model as it was before is left too, with the rows
that it did not see: whoever changes the graph can then be judged on rows that neither of both has seen. Only
encoders that the graph reads go into a bundle. Knows no family and no task by name.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from luban.bundle.bundle import HEAD
from luban.bundle.manifest import RowStepSpec, TaskSpec
from luban.bundle.write import Draft, write_bundle
from luban.catalog import canonical
from luban.data.binary import written
from luban.data.dataset import Split
from luban.features.base import Feature
from luban.features.kinds import num_rows, pad
from luban.models.graph_model import GraphModel
from luban.train.candidate import Candidate
from luban.train.encode import Rows, TrainData

NUM_EXAMPLES = 8
JUDGED, ROWS = "judged", "rows.safetensors"
BOTH: tuple[Split, ...] = ("train", "valid")
"""The parts of the dataset's split among whose rows those of a judged model are numbered."""


@dataclass(frozen=True)
class Facts:
    """What the bundle says of itself beside what was learnt."""

    name: str
    owner: str
    purpose: str


@dataclass(frozen=True)
class Final:
    """The model that goes into the bundle, its decoding (fitted on validation rows before any refit), and
    the baseline's outputs [B, n] on test rows; `valid` are the outputs that judged the model, of rows that it had
    not seen when it gave them, and `valid_y` their targets: what else is to be chosen is chosen by them."""

    candidate: Candidate
    decoding: dict[str, Any]
    baseline: np.ndarray
    valid: np.ndarray
    valid_y: np.ndarray


def write(out: Path, data: TrainData, facts: Facts, final: Final, report: dict[str, Any]) -> None:
    """Write `bundle/`, `outputs.safetensors`, `checkpoint.safetensors` and `training.json` into `out`.

    `data` still has its validation rows: the bundle's examples are some of them; training rows where there are none.
    """
    from safetensors.numpy import save

    (out / "bundle").mkdir()
    write_bundle(out / "bundle", _draft(data, facts, final))
    outputs = {
        "model": final.candidate.test,
        "baseline": final.baseline,
        "y": np.asarray(data.y("test"), np.float64),
        "valid": final.valid,
        "valid_y": np.asarray(final.valid_y, np.float64),
    }
    named = {name: np.ascontiguousarray(array) for name, array in outputs.items()}
    (out / "outputs.safetensors").write_bytes(save(named))
    shutil.copyfile(final.candidate.folder / "checkpoint.safetensors", out / "checkpoint.safetensors")
    (out / "training.json").write_bytes(canonical(report))


def write_judged(out: Path, data: TrainData, ground: TrainData, facts: Facts, final: Final) -> None:
    """Write `judged/bundle/` and `judged/rows.safetensors`: which rows the model of `final` learnt from (`train`)
    and which it never saw (`valid`), by position [M] among the dataset's training and validation rows.

    `ground` has these rows in their places, `data` those that the bundle's examples are taken from.
    """
    from safetensors.numpy import save

    (out / JUDGED / "bundle").mkdir(parents=True)
    write_bundle(out / JUDGED / "bundle", _draft(data, facts, final))
    splits = data.dataset.splits
    all_of = {"train": np.arange(splits["train"]), "valid": splits["train"] + np.arange(splits["valid"])}
    rows = {}
    for name in BOTH:
        used = ground.rows[name]
        positions = np.concatenate([all_of[part] for part in used.parts])
        rows[name] = positions if used.at is None else positions[used.at]
    (out / JUDGED / ROWS).write_bytes(save(rows))


def read_judged(folder: Path, data: TrainData) -> tuple[Path, TrainData]:
    """The bundle to be judged in a folder that `train` left, and `data` with rows that it did not see as `valid`.

    Where no model was fitted again, that is the bundle itself, and the dataset's validation rows.
    """
    from safetensors.numpy import load_file

    if not (folder / JUDGED).is_dir():
        return folder / "bundle", data
    both, at = Rows(BOTH), load_file(folder / JUDGED / ROWS)
    rows: dict[Split, Rows] = {"train": both.only(at["train"]), "valid": both.only(at["valid"]), "test": Rows(())}
    return folder / JUDGED / "bundle", data.with_rows(rows)


def _draft(data: TrainData, facts: Facts, final: Final) -> Draft:
    graph, schema = final.candidate.graph, data.dataset.schema
    takes = {value.name for value in onnx.load_model_from_string(graph).graph.input}
    used = {name.rpartition(".")[0] for name in takes}
    pairs = [(column, encoder) for column, encoder in final.candidate.encoders if encoder.block(column).name in used]
    split: Split = "valid" if len(data.y("valid")) else "train"
    count = min(NUM_EXAMPLES, len(data.y(split)))
    few = data.with_rows({**data.rows, "valid": data.rows[split].only(np.arange(count))})
    arrays = few.arrays(pairs, "valid")
    model = GraphModel(graph)
    padded = {name: array for name, array in pad(arrays).items() if name in takes}
    names = [column.name for column in schema.inputs]
    rows = data.dataset.table(names, split).slice(0, min(count, 3)).to_pylist()
    features = dict(data.features)
    task = data.task
    assert num_rows(arrays) == count
    return Draft(
        name=facts.name,
        owner=facts.owner,
        purpose=facts.purpose,
        task=TaskSpec(
            kind=task.kind,
            config=task.config.identity(),
            head=data.head.kind,
            width=data.head.width,
            decoding=final.decoding,
            target=data.target.name,
        ),
        schema=schema,
        row_steps=[RowStepSpec.model_validate(step) for step in data.dataset.info["row_steps"]],
        encoders=pairs,
        graph=graph,
        examples={**padded, HEAD: model.predict(arrays).astype(np.float32)},
        example_rows=[{k: _plain(v, features[k]) for k, v in row.items() if v is not None} for row in rows],
    )


def _plain(value: Any, feature: Feature) -> Any:
    """A parsed value as JSON has it: what is no string, number or truth value as text, pictures small."""
    value = written(feature.picture(value) or value)
    return value if isinstance(value, (str, int, float, bool, list)) else str(value)
