"""The reports that go into a released bundle: for people (HTML, Markdown, model card) and as JSON.

Decided here: nothing taken from rows goes in (`data_facts`), but for the errors to read and the rows that are
explained, files of their own that the bundle lists as personal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from luban.bundle.ranges import RANGES
from luban.catalog import canonical
from luban.evaluate.report import Report, data_facts, train_seconds
from luban.release.card import Subject, card
from luban.release.gates.base import Verdict
from luban.release.ranges import ranges

if TYPE_CHECKING:
    from luban.bundle.manifest import Manifest
    from luban.release.candidate import Candidate


ERRORS = "errors.json"
EXPLAINED = "explained.json"
WITH_ROWS = "report-with-rows.html"
ROW_REPORTS = (ERRORS, EXPLAINED, WITH_ROWS)
"""Reports that show rows, for people who may see the data; no server needs them."""
PERSONAL_REPORTS = (*ROW_REPORTS, RANGES)
"""Reports that hold rows' own values, or extremes of them."""


def report_of(
    candidate: Candidate, verdicts: Sequence[Verdict], lineage: Mapping[str, Any], measured: Mapping[str, Any]
) -> Report:
    """The report on a candidate. `measured` is what `release.measure` found, or empty."""
    project = candidate.project
    costs = {name: value for name, value in measured.items() if name != "calls"}
    return Report(
        title=project["name"],
        project={name: project.get(name, "") for name in ("name", "owner", "purpose", "budget")},
        data=data_facts(candidate.dataset.report),
        training=candidate.training,
        evaluation=candidate.evaluation,
        gates=tuple(verdict.to_json() for verdict in verdicts),
        costs={**costs, "train_s": train_seconds(candidate.training)},
        lineage=dict(lineage),
        explanation=candidate.explanation or {},
        suspects=(candidate.errors or {}).get("num_suspects"),
        language=project.get("language", "en"),
    )


def reports(
    candidate: Candidate,
    manifest: Manifest,
    verdicts: Sequence[Verdict],
    lineage: Mapping[str, Any],
    measured: Mapping[str, Any],
    forced_reason: str | None = None,
) -> dict[str, bytes]:
    """The files of `reports/`, name to bytes."""
    report = report_of(candidate, verdicts, lineage, measured)
    optional = {
        ERRORS: candidate.errors,
        "explanation.json": candidate.explanation,
        EXPLAINED: candidate.explained,
    }
    known = {"errors": candidate.errors, "explained": candidate.explained}
    rows = {name: found for name, found in known.items() if found is not None}
    return {
        **{name: canonical(found) for name, found in optional.items() if found is not None},
        "report.json": canonical(report.to_json()),
        "report.md": report.to_markdown().encode(),
        "report.html": report.to_html().encode(),
        **({WITH_ROWS: report.to_html(rows).encode()} if rows else {}),
        "card.md": card(report, Subject.of(manifest), forced_reason).encode(),
        "evaluation.json": canonical(candidate.evaluation),
        "training.json": canonical(candidate.training),
        RANGES: canonical(ranges(candidate.dataset)),
        "prepare.json": canonical(report.data),
        "gates.json": canonical([verdict.to_json() for verdict in verdicts]),
    }
