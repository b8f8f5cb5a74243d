"""What was asked, and what the data was like."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from luban.evaluate.figures import brief, shown
from luban.evaluate.layout import Row
from luban.evaluate.origins import changed_rows
from luban.evaluate.page import phrases
from luban.evaluate.page.blocks import Bar, Bars, Block, Heading, Part, Stack, Table, Text

if TYPE_CHECKING:
    from luban.evaluate.view import View

MAX_BARS = 20
MAX_COLUMNS = 60


def asked(view: View) -> Iterator[Block]:
    """Purpose, owner, what is predicted from what, and the limits that were set."""
    t, project = view.words, view.report.project
    columns = view.report.data.get("columns", [])
    inputs = [column["name"] for column in columns if column.get("role") == "input"]
    target = next((column["name"] for column in columns if column.get("role") == "target"), project.get("target") or "")
    rows = [
        (t["purpose"], str(project.get("purpose") or t["nobody"])),
        (t["owner"], str(project.get("owner") or t["nobody"])),
        (t["predicts"], _target(view, target)),
        (t["reads"], t["comma"].join(inputs[:MAX_COLUMNS])),
        (t["measured_by"], view.metric(view.evaluation["first_metric"])),
        (t["budget"], t["comma"].join(_budget(view))),
    ]
    yield Table((), [Row(row) for row in rows if row[1]], right=2)


def _target(view: View, target: str) -> str:
    task = phrases.named(view, "task", view.evaluation["task"])
    return view.say("with_task", target=target, task=task) if target else task


def _budget(view: View) -> Iterator[str]:
    budget = view.report.project.get("budget") or {}
    for key, unit in (("p95_ms", "ms"), ("size_mb", "MB")):
        if budget.get(key) is not None:
            yield f"{view.words[key]} ≤ {brief(budget[key])} {unit}"
    seconds = view.report.training.get("time_budget_s")
    if seconds is not None:
        yield view.say("budget_train", seconds=brief(seconds))


def data(view: View) -> Iterator[Block]:
    """Rows read, set aside and dealt out; classes; columns; what a person should know."""
    t, found = view.words, view.report.data
    yield from _flow(view)
    changed = [*_changed(view)]
    if changed:
        yield Table((), changed)
    yield from _classes(view)
    columns = found.get("columns", [])
    if columns:
        yield Heading(t["columns"])
        known = any(column.get("missing") is not None for column in columns)
        head = (t["column"], t["type"], t["role"], *((t["missing"],) if known else ()), t["unreadable"])
        yield Table(head, [*_columns(view, known)], right=3)
        if len(columns) > MAX_COLUMNS:
            yield Text(view.say("first_of", shown=str(MAX_COLUMNS), all=f"{len(columns):,}"), soft=True)
    for note in phrases.notes(view):
        yield Text(note)


def _flow(view: View) -> Iterator[Block]:
    """All rows that were read, as one bar."""
    t, rows = view.words, view.report.data.get("rows", {})
    total = rows.get("found") or 0
    if not total:
        return
    dealt = view.report.data.get("split", {}).get("rows", {})
    parts = [(t[f"data_{name}"], dealt[name], name) for name in ("train", "valid", "test") if dealt.get(name)]
    aside = sorted(rows.get("quarantined", {}).items(), key=lambda item: (-item[1], item[0]))
    parts += [(view.say("data_aside", rule=phrases.rule(view, rule)), count, "aside") for rule, count in aside]
    yield Stack([Part(label, count / total, f"{count:,}", mark) for label, count, mark in parts])


def _changed(view: View) -> Iterator[Row]:
    """Rows read and kept, values changed and unreadable."""
    rows = view.report.data.get("rows", {})
    if rows:
        yield Row((view.words["data_read"], shown(rows.get("found"))))
        yield Row((view.words["data_kept"], shown(rows.get("kept"))), "chosen")
    yield from changed_rows(view)


def _classes(view: View) -> Iterator[Block]:
    counts = view.report.data.get("class_counts") or {}
    if not counts:
        return
    total = sum(counts.values()) or 1
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    most = ordered[0][1] or 1
    yield Heading(view.words["classes"])
    yield Bars(
        [
            Bar(label, count / most, f"{count:,} ({view.percent(count / total)})", "other")
            for label, count in ordered[:MAX_BARS]
        ]
    )
    if len(ordered) > MAX_BARS:
        rest = sum(count for _, count in ordered[MAX_BARS:])
        yield Text(view.say("more_classes", number=f"{len(ordered) - MAX_BARS:,}", rows=f"{rest:,}"), soft=True)


def _columns(view: View, known: bool) -> Iterator[Row]:
    t = view.words
    for column in view.report.data["columns"][:MAX_COLUMNS]:
        missing, total = column.get("missing"), column.get("rows")
        share = view.percent(missing / total) if missing is not None and total else ""
        unreadable = f"{column['unreadable']:,}" if column.get("unreadable") else "0"
        role, kind = column.get("role", ""), phrases.named(view, "type", column.get("type", ""))
        cells = (column["name"], kind, t.get(f"role_{role}", role), *((share,) if known else ()), unreadable)
        yield Row(cells)
