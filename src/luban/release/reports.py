"""The reports that go into a released bundle: JSON of every verb, for now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from luban.catalog import canonical
from luban.release.gates.base import Verdict

if TYPE_CHECKING:
    from luban.release.run import Candidate


def reports(candidate: Candidate, verdicts: list[Verdict], lineage: dict[str, Any]) -> dict[str, bytes]:
    """Name to bytes."""
    return {
        "evaluation.json": canonical(candidate.evaluation),
        "training.json": canonical(candidate.training),
        "prepare.json": canonical(candidate.dataset.report),
        "gates.json": canonical([verdict.to_json() for verdict in verdicts]),
    }
