"""What prepare did, as JSON: counts that add up, inferred columns with reasons, changes, split, profiles.

    rows      found = kept + quarantined, by rule
    columns   name, type, role, why, profile
    changes   column, rule, count, examples
    split     by, why, rows a part, classes a part
    notes     what a person should know

Decided here: examples stand in the report, so it is as personal as the data. Knows no step.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from luban.prepare.decisions import Decisions
from luban.prepare.ingest import Ingested
from luban.prepare.parts import Parts
from luban.prepare.plan import Plan
from luban.prepare.write import Written


@dataclass(frozen=True)
class Outcome:
    """All that the passes found and decided."""

    plan: Plan
    found: Ingested
    decisions: Decisions
    parts: Parts
    written: Written


def publish(out: Path, outcome: Outcome, lineage: dict[str, Any]) -> None:
    """Write schema.json, report.json and, last, dataset.json."""
    plan, parts, written = outcome.plan, outcome.parts, outcome.written
    report = {
        "rows": rows(outcome),
        "columns": columns(outcome),
        "changes": changes(outcome),
        "split": {"by": parts.way.by, "column": parts.way.column, "why": parts.way.reason, "rows": written.splits},
        "class_counts": None if written.class_counts is None else total(written.class_counts),
        "class_counts_by_split": written.class_counts,
        "set_steps": [choice.identity() for choice in plan.set_steps],
        "notes": notes(outcome),
    }
    info = {
        "fingerprint": written.fingerprint,
        "num_rows": sum(written.splits.values()),
        "splits": written.splits,
        "row_steps": [use.as_json() for use in plan.row_steps],
        "lineage": lineage,
    }
    for name, content in (("schema", plan.schema.model_dump(mode="json")), ("report", report), ("dataset", info)):
        text = json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False)
        (out / f"{name}.json").write_text(text + "\n", "utf-8")


def rows(outcome: Outcome) -> dict[str, Any]:
    """Counts of rows; raises AssertionError unless they add up."""
    found, aside = outcome.found, outcome.decisions.counts()
    if found.num_rejects:
        aside["source"] = found.num_rejects
    total_rows, kept = found.raw.num_rows + found.num_rejects, sum(outcome.written.splits.values())
    assert total_rows == kept + sum(aside.values()), "rows found are kept or in quarantine"
    return {"found": total_rows, "kept": kept, "quarantined": dict(sorted(aside.items()))}


def columns(outcome: Outcome) -> list[dict[str, Any]]:
    """Every column with its type and role, why, what could not be read, and its profile."""
    plan, found, written = outcome.plan, outcome.found, outcome.written
    return [
        {
            "name": column.name,
            "type": column.type,
            "role": column.role,
            "why": plan.reasons[column.name],
            "unreadable": found.bad[column.name],
            "profile": written.profiles[column.name].as_json(),
        }
        for column in plan.schema.columns
    ]


def changes(outcome: Outcome) -> list[dict[str, Any]]:
    """Values changed by column and rule, with examples; raises AssertionError unless changed.parquet has as many."""
    counts = {rule: entry.count for rule, entry in outcome.found.changes.items()}
    assert counts == outcome.written.changed, "every value that was changed is in changed.parquet"
    return [
        {
            "column": column,
            "rule": rule,
            "count": entry.count,
            "examples": [{"row": row + 1, "before": before, "after": after} for row, before, after in entry.examples],
        }
        for (column, rule), entry in sorted(outcome.found.changes.items())
    ]


def total(class_counts: dict[str, dict[str, int]]) -> dict[str, int]:
    """Rows a class in all splits."""
    found: dict[str, int] = {}
    for counts in class_counts.values():
        for value, count in counts.items():
            found[value] = found.get(value, 0) + count
    return found


def notes(outcome: Outcome) -> list[str]:
    """What a person should know, in sentences."""
    plan, found, written = outcome.plan, outcome.found, outcome.written
    said = [
        f"Column `{column.name}` is not learnt from: it {plan.reasons[column.name]}."
        for column in plan.schema.of_role("meta")
        if column.name not in plan.stated
    ]
    for column in plan.schema.columns:
        if found.bad[column.name] and column.role not in ("input", "target", "weight"):
            value, reason = found.bad_examples[column.name]
            said.append(
                f"Column `{column.name}`: {found.bad[column.name]} values cannot be read and count as missing, "
                f"for instance `{value}`: {reason}."
            )
    said += _empty_targets(outcome)
    said += [f"{count} rows: {reason}." for reason, count in outcome.decisions.flags.items()]
    said += [f"The split has {note}." for note in outcome.parts.notes]
    for value, count in total(written.class_counts or {}).items():
        if count == 1:
            said.append(f"Class `{value}` has one row; it is kept in {_where(value, written)}.")
        elif written.class_counts and written.splits["test"] and not written.class_counts["test"].get(value):
            said.append(f"Class `{value}` has {count} rows and none of them in the test.")
    return said


def _empty_targets(outcome: Outcome) -> list[str]:
    """That rows without a target are kept where this has a meaning: it may not be what was meant."""
    target = outcome.plan.schema.target
    if target is None or not outcome.plan.features[target.name].missing_is_value:
        return []
    empty = outcome.found.raw.num_rows - outcome.found.present[target.name]
    said = (
        f"{empty} rows have an empty `{target.name}` and count as rows without any label; if it means that nobody has "
        f"looked at them, say so in the settings of the column type `{target.type}`."
    )
    return [said] if empty else []


def _where(value: str, written: Written) -> str:
    found = [name for name, counts in (written.class_counts or {}).items() if counts.get(value)]
    return {"train": "training", "valid": "validation"}.get(found[0], found[0])
