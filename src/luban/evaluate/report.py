"""The report: what was found out about a model, as JSON, Markdown and HTML.

A frozen record of plain JSON parts, so that a report can be rendered again years later by what it holds.
Decided here: HTML is one file that asks no network, prints well and fits a telephone; values taken from
rows (examples of changed values, profiles) are left out, for a report travels further than its data.
"""

from __future__ import annotations

from typing import Any, Literal

from luban.evaluate.records import Record
from luban.evaluate.view import View

PERSONAL = {"examples", "profile"}


class Report(Record):
    """One model, its data, its rivals, its figures, its gates and where it all came from."""

    title: str
    project: dict[str, Any]
    """`name`, `owner`, `purpose`, and, of a release, `budget`."""
    data: dict[str, Any]
    """What prepare did (`Dataset.report`), without values taken from rows: see `data_facts`."""
    training: dict[str, Any]
    """The training report: `leaderboard`, `chosen`, `loss`."""
    evaluation: dict[str, Any]
    """An `Evaluation` as JSON."""
    gates: tuple[dict[str, Any], ...] = ()
    """Verdicts as JSON; empty before a release."""
    costs: dict[str, Any] = {}
    """`p50_ms`, `p95_ms`, `size_mb` and `train_s`, those that are known."""
    lineage: dict[str, Any] = {}
    """Hashes and ids by which every figure can be traced."""
    explanation: dict[str, Any] = {}
    """What the model goes by, as a whole; empty where nothing was explained."""
    suspects: int | None = None
    """Labels of test rows that are probably wrong; None where that was not looked at."""
    forced: str = ""
    """Why it was released in spite of a failed gate; empty where none failed, and before a release."""
    language: Literal["en", "zh"] = "en"

    @property
    def view(self) -> View:
        """The contents in words."""
        return View(self)

    def to_markdown(self) -> str:
        """The report as Markdown."""
        from luban.evaluate.markdown import markdown

        return markdown(self.view)

    def to_html(self, rows: dict[str, Any] | None = None) -> str:
        """The report as one self-contained HTML page.

        `rows` is what rows themselves say: `errors` (errors to read) and `explained` (rows with what their
        answers stand on), both as JSON. A page with rows is as personal as the data, and says so.
        """
        from luban.evaluate.page.page import render

        return render(View(self, rows))


def data_facts(prepare: dict[str, Any]) -> dict[str, Any]:
    """What prepare reported, without values taken from rows.

    >>> data_facts({"changes": [{"rule": "unicode", "count": 2, "examples": [{"before": "a"}]}]})
    {'changes': [{'rule': 'unicode', 'count': 2}]}
    """
    found: dict[str, Any] = _without(prepare)
    for column, whole in zip(found.get("columns", []), prepare.get("columns", []), strict=True):
        profile = whole.get("profile", {})
        column |= {name: profile[name] for name in ("rows", "missing") if name in profile}
    if "notes" in found:
        found["notes"] = [note.split(", for instance `")[0].rstrip(".") + "." for note in found["notes"]]
    return found


def _without(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without(inner) for key, inner in value.items() if key not in PERSONAL}
    return [_without(inner) for inner in value] if isinstance(value, list) else value


def train_seconds(training: dict[str, Any]) -> float | None:
    """Seconds that all candidates took together; None where none is recorded."""
    seconds = [row["seconds"] for row in training.get("leaderboard", []) if row.get("seconds") is not None]
    return float(sum(seconds)) if seconds else None
