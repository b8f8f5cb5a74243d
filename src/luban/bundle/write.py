"""Writes a bundle's folder: files first, then the sealed manifest.

The caller publishes the folder by rename; nothing here is atomic by itself. Reports are added to a
bundle by writing it again (`with_reports`): what decides answers stays the same to the byte, so the
identity does too.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import luban
from luban.bundle.bundle import EXAMPLE_ROWS, EXAMPLES, HEAD
from luban.bundle.manifest import MANIFEST, EncoderSpec, FileSpec, Manifest, RowStepSpec, StageSpec, TaskSpec
from luban.bundle.protocol import PROTOCOL, read_manifest
from luban.catalog import RUNTIMES, canonical
from luban.data.schema import Schema
from luban.features.base import Encoder
from luban.features.kinds import Arrays, Block

GRAPH = "stages/model.onnx"


@dataclass(frozen=True)
class Draft:
    """All that a new bundle is made of. `encoders` are (column, fitted encoder); `graph` is ONNX bytes."""

    name: str
    owner: str
    purpose: str
    task: TaskSpec
    schema: Schema
    row_steps: Sequence[RowStepSpec]
    encoders: Sequence[tuple[str, Encoder]]
    graph: bytes
    examples: Arrays
    """Padded arrays of a few rows, with the outputs under `head`."""
    example_rows: Sequence[Mapping[str, Any]]
    lineage: Mapping[str, Any] = field(default_factory=dict)


def write_bundle(folder: Path, draft: Draft) -> Manifest:
    """Write `draft` into the empty folder; gives the sealed manifest."""
    from safetensors.numpy import save

    files: dict[str, bytes] = {GRAPH: draft.graph}
    encoders: list[EncoderSpec] = []
    personal: list[str] = []
    for column, encoder in draft.encoders:
        spec, state_files, is_personal = _encoder_files(column, encoder, len(encoders))
        encoders.append(spec)
        files |= state_files
        personal += list(state_files) if is_personal else []
    files[EXAMPLES] = save({name: np.ascontiguousarray(array) for name, array in draft.examples.items()})
    files[EXAMPLE_ROWS] = canonical([dict(row) for row in draft.example_rows])
    personal += [EXAMPLES, EXAMPLE_ROWS]
    takes = tuple(sorted(name for name in draft.examples if name != HEAD))
    stage = StageSpec(name="model", runtime="onnx", files=(GRAPH,), takes=takes, gives=(HEAD,))
    manifest = Manifest(
        protocol=PROTOCOL,
        luban=luban.__version__,
        name=draft.name,
        owner=draft.owner,
        purpose=draft.purpose,
        task=draft.task,
        dataset_schema=draft.schema,
        row_steps=tuple(draft.row_steps),
        encoders=tuple(encoders),
        stages=(stage,),
        personal=tuple(sorted(personal)),
        lineage=dict(draft.lineage),
        files={name: _spec(data) for name, data in sorted(files.items())},
    )
    return _write(folder, manifest, files)


def with_reports(
    source: Path,
    folder: Path,
    reports: Mapping[str, bytes],
    lineage: Mapping[str, Any],
    audit_head: str,
    personal: Collection[str] = (),
) -> Manifest:
    """Copy the bundle `source` into the empty `folder` with these reports, lineage and audit head.

    `reports` maps names ("report.html") to bytes; they land in `reports/`; those that hold rows' values are named in
    `personal`. Identity is unchanged.
    """
    old = read_manifest((source / MANIFEST).read_bytes(), str(source))
    kept = {name: spec for name, spec in old.files.items() if not name.startswith("reports/")}
    added = {f"reports/{name}": data for name, data in reports.items()}
    for name in kept:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, target)
    files = {**kept, **{name: _spec(data) for name, data in added.items()}}
    listed = {name for name in old.personal if name in kept} | {f"reports/{name}" for name in personal}
    manifest = old.model_copy(
        update={
            "files": dict(sorted(files.items())),
            "personal": tuple(sorted(listed & files.keys())),
            "lineage": {**old.lineage, **lineage},
            "audit_head": audit_head,
        }
    )
    return _write(folder, manifest, added)


def without(source: Path, folder: Path, names: Collection[str]) -> Manifest:
    """Copy the bundle `source` into the empty `folder` without these reports. Identity is unchanged."""
    old = read_manifest((source / MANIFEST).read_bytes(), str(source))
    reports = [name for name in old.files if name.startswith("reports/") and name.removeprefix("reports/") not in names]
    found = {name.removeprefix("reports/"): (source / name).read_bytes() for name in reports}
    personal = [name for name in found if f"reports/{name}" in old.personal]
    return with_reports(source, folder, found, {}, old.audit_head, personal)


def with_graph(source: Path, folder: Path, graph: bytes) -> Manifest:
    """Copy the bundle `source`, of one stage, into the empty `folder` with another graph of the same inputs.

    The examples' outputs are those of the new graph; the identity is another. Reports are left behind.
    """
    from safetensors.numpy import load, save

    old = read_manifest((source / MANIFEST).read_bytes(), str(source))
    (stage,) = old.stages
    arrays = load((source / EXAMPLES).read_bytes())
    del arrays[HEAD]
    answered = RUNTIMES.resolve(stage.runtime)().open(stage, {GRAPH: graph}, 1)(arrays)
    changed = {GRAPH: graph, EXAMPLES: save({**arrays, HEAD: np.ascontiguousarray(answered[HEAD])})}
    kept = {name: spec for name, spec in old.files.items() if not name.startswith("reports/")}
    for name in kept.keys() - changed.keys():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, target)
    files = {**kept, **{name: _spec(data) for name, data in changed.items()}}
    return _write(folder, old.model_copy(update={"files": dict(sorted(files.items()))}), changed)


def _write(folder: Path, manifest: Manifest, files: Mapping[str, bytes]) -> Manifest:
    for name, data in files.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    sealed = manifest.sealed()
    (folder / MANIFEST).write_bytes(sealed.to_bytes())
    return sealed


def _spec(data: bytes) -> FileSpec:
    return FileSpec(sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))


def _encoder_files(column: str, encoder: Encoder, number: int) -> tuple[EncoderSpec, dict[str, bytes], bool]:
    from safetensors.numpy import save

    state = encoder.state()
    block: Block = encoder.block(column)
    # The number keeps file names plain where column names are not (slashes, other scripts).
    stem = f"encoders/{number:02d}-{block.kind}-{state.fingerprint}"
    files = {f"{stem}.json": canonical(state.json)}
    if state.tensors:
        files[f"{stem}.safetensors"] = save({n: np.ascontiguousarray(a) for n, a in sorted(state.tensors.items())})
    spec = EncoderSpec(
        column=column,
        array_kind=block.kind,
        fingerprint=state.fingerprint,
        file=f"{stem}.json",
        tensors=f"{stem}.safetensors" if state.tensors else None,
        size=block.size,
    )
    return spec, files, state.personal
