"""The reports that go into a released bundle: for people (HTML, Markdown, model card) and as JSON.

Decided here: nothing taken from rows goes in (`data_facts`), but for the errors to read and the rows that are
explained, files of their own that the bundle lists as personal.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from luban.bundle.ranges import RANGES
from luban.catalog import canonical
from luban.errors import ConfigError, ReleaseError
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
    candidate: Candidate,
    verdicts: Sequence[Verdict],
    lineage: Mapping[str, Any],
    measured: Mapping[str, Any],
    forced_reason: str | None = None,
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
        forced=(forced_reason or "") if any(verdict.status == "failed" for verdict in verdicts) else "",
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
    report = report_of(candidate, verdicts, lineage, measured, forced_reason)
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
        "card.md": card(report, Subject.of(manifest)).encode(),
        "evaluation.json": canonical(candidate.evaluation),
        "training.json": canonical(candidate.training),
        RANGES: canonical(ranges(candidate.dataset)),
        "prepare.json": canonical(report.data),
        "gates.json": canonical([verdict.to_json() for verdict in verdicts]),
    }


def rendered(folder: Path, suffix: str, language: Literal["en", "zh"] | None = None, with_rows: bool = False) -> bytes:
    """The page (`.html`) or text (`.md`) that this version of Luban makes of the figures in a bundle's `reports/`.

    The bundle stays as it was released; `language` None is that of the release. Raises ConfigError for another suffix
    or rows in Markdown, ReleaseError for figures that this version cannot read.
    """
    allowed = (".html",) if with_rows else (".html", ".md")
    if suffix not in allowed:
        raise ConfigError(f"The file must end in {' or '.join(allowed)}, but got `{suffix}`.", "Name another file.")
    try:
        report = Report.model_validate_json((folder / "report.json").read_bytes())
    except (OSError, ValidationError) as error:
        said = str(error).splitlines()[0]
        raise ReleaseError(f"The report of this version cannot be read: {said}.", "Read the page in it.") from error
    if language is not None:
        report = report.model_copy(update={"language": language})
    if suffix == ".md":
        return report.to_markdown().encode()
    found = {name: folder / f"{name}.json" for name in ("errors", "explained")}
    rows = {name: json.loads(path.read_bytes()) for name, path in found.items() if path.exists()}
    return report.to_html(rows if with_rows else None).encode()
