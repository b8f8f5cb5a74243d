"""What differs between two bundles, as rows that a person reads.

Figures are those recorded at release; all else is read from the manifests: schema, row steps, encoders,
stages, decoding, size. Knows no registry.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

from luban.bundle.manifest import MANIFEST, Manifest
from luban.bundle.protocol import read_manifest


class Difference(TypedDict):
    """One line: what differs, and what each of the two has ("—": nothing)."""

    what: str
    first: str
    second: str


def differences(
    first: Path, first_metrics: Mapping[str, float | None], second: Path, second_metrics: Mapping[str, float | None]
) -> list[Difference]:
    """Rows that differ between the bundles in two folders, figures first. Raises BundleError."""
    a = {**_figures(first_metrics), **_facts(_manifest(first))}
    b = {**_figures(second_metrics), **_facts(_manifest(second))}
    names = [*a, *(name for name in b if name not in a)]
    return [
        {"what": name, "first": a.get(name, "—"), "second": b.get(name, "—")}
        for name in names
        if a.get(name) != b.get(name)
    ]


def _manifest(folder: Path) -> Manifest:
    return read_manifest((folder / MANIFEST).read_bytes(), str(folder))


def _figures(metrics: Mapping[str, float | None]) -> dict[str, str]:
    return {f"metric {name}": "undefined" if value is None else f"{value:.4g}" for name, value in metrics.items()}


def _facts(manifest: Manifest) -> dict[str, str]:
    """Everything else by a name of a few words, each value short enough for a table."""
    facts = {
        "size in MB": f"{sum(file.bytes for file in manifest.files.values()) / 1e6:.3g}",
        "written by Luban": manifest.luban,
        "protocol": str(manifest.protocol),
        "owner": manifest.owner,
        "purpose": manifest.purpose,
        "task": f"{manifest.task.kind} of {manifest.task.target}",
        "task settings": _short(manifest.task.config),
        "identity": manifest.identity[:12],
    }
    for column in manifest.dataset_schema.columns:
        settings = f" {_short(column.settings)}" if column.settings else ""
        facts[f"column {column.name}"] = f"{column.type}, {column.role}{settings}"
    for step in manifest.row_steps:
        facts[f"row step {step.kind}"] = f"{', '.join(step.columns)} {_short(step.config)}"
    for number, encoder in enumerate(manifest.encoders):
        name = f"encoder {number + 1}"
        facts[name] = f"{encoder.column} as {encoder.array_kind}, {encoder.size:,} wide, {encoder.fingerprint}"
    for stage in manifest.stages:
        files = ", ".join(f"{name} {manifest.files[name].sha256[:12]}" for name in stage.files)
        facts[f"stage {stage.name}"] = f"{stage.runtime}: {files}"
    for key, value in manifest.task.decoding.items():
        facts[f"decoding {key}"] = _short(value)
    for key in ("dataset", "train"):
        if key in manifest.lineage:
            facts[f"lineage {key}"] = _short(manifest.lineage[key])
    return facts


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)
    return text if len(text) <= 120 else f"{text[:117]}..."
