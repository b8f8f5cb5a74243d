"""Shifted data in words: Markdown for a file, lines for a terminal. Lays out a `Shift`, computes nothing."""

from __future__ import annotations

from collections.abc import Iterator

from luban.evaluate.figures import percent, shown, signed, span
from luban.evaluate.markdown import table
from luban.evaluate.shift import Beside, Shift

MAX_DRIFT = 20
MAX_ANSWERS = 30


def markdown(found: Shift, title: str) -> str:
    """The whole finding."""
    return "\n\n".join(part for part in _parts(found, title) if part) + "\n"


def verdict(found: Shift) -> str:
    """What became of the model, in one sentence."""
    beside = found.metrics.get(found.first_metric)
    if beside is None:
        return "The file has no labels that the model knows: only its inputs and answers can be looked at."
    name = found.first_metric.replace("_", " ")
    value = f"{shown(beside.after.value)} ({span(beside.after.low, beside.after.high)})"
    if beside.difference is None or beside.before is None:
        return f"Here {name} is {value}; there is nothing to compare it with: {beside.reason}."
    against = f"against {shown(beside.before.value)} on its own test rows"
    if beside.low is None or beside.high is None:
        return f"Here {name} is {value}, {against}."
    if beside.worse:
        return f"The model is worse here: {name} {value}, {against}."
    if beside.low > 0:
        return f"The model is better here: {name} {value}, {against}."
    return f"No worse than chance allows: {name} {value}, {against}."


def rows(found: Shift) -> list[tuple[str, str]]:
    """What was read, what it was counted as, and how much of it."""
    listed = [("rows read", found.num_rows), ("lines that are no row", found.num_rejected)]
    listed += [("rows answered", found.num_answered)]
    listed += [
        (f"rows refused: `{column}` could not be read" if column else "rows refused: nothing in them", count)
        for column, count in found.refused.items()
    ]
    if found.labelled:
        listed += [("rows without a label", found.num_unlabelled), ("labels unknown or unreadable", found.num_unknown)]
        listed += [("rows that figures stand on", found.num_labelled)]
    return [(name, f"{count:,}") for name, count in listed if count or name.endswith(("read", "answered", "on"))]


def metric_rows(found: Shift) -> list[list[str]]:
    """Metric, before, here, difference and its interval."""
    return [[name.replace("_", " "), *_cells(beside)] for name, beside in found.metrics.items()]


def _cells(beside: Beside) -> list[str]:
    before = "–" if beside.before is None else shown(beside.before.value)
    difference = "–" if beside.difference is None else signed(beside.difference)
    interval = "" if beside.low is None or beside.high is None else f"{signed(beside.low)} to {signed(beside.high)}"
    return [before, shown(beside.after.value), span(beside.after.low, beside.after.high), difference, interval]


def drift_rows(found: Shift) -> list[list[str]]:
    """Column, figure, before, here, stability index and verdict, the least stable first."""
    lines = []
    for one in found.drift[:MAX_DRIFT]:
        here = f"{percent(one.new_values)} new" if one.new_values is not None else shown(one.after)
        lines.append([one.column, one.by, shown(one.before), here, f"{one.stability:.3f}", one.verdict])
    return lines


def answer_rows(found: Shift) -> list[list[str]]:
    """Answer, its share before and here."""
    return [[one.label, percent(one.before), percent(one.after)] for one in found.answers[:MAX_ANSWERS]]


def notes(found: Shift) -> list[str]:
    """What should be known beside the figures."""
    said = [f"The file has no column `{name}`: it counted as missing." for name in found.missing_columns]
    if found.unread_columns:
        said.append(f"Columns that the model does not read: {', '.join(found.unread_columns[:20])}.")
    if found.num_learnt:
        said.append(f"{found.num_learnt:,} of these rows are rows that the model learnt from: the figures flatter it.")
    if found.drift_reason:
        said.append(f"Drift was not measured: {found.drift_reason}.")
    if found.confidence is not None:
        said.append(f"Mean confidence of the answers: {percent(found.confidence)}.")
    return said


METRIC_HEAD = ["metric", "own test", "here", "interval", "difference", "interval of it"]
DRIFT_HEAD = ["column", "figure", "own test", "here", "stability", "drift"]
ANSWER_HEAD = ["answer", "own test", "here"]


def _parts(found: Shift, title: str) -> Iterator[str]:
    yield f"# {title} on {found.source}"
    yield f"**{verdict(found)}**"
    yield table(["rows", "number"], [list(row) for row in rows(found)])
    if found.metrics:
        yield "## Figures"
        yield f"Differences are turned so that above zero is better; {percent(found.level, 0)} intervals."
        yield table(METRIC_HEAD, metric_rows(found))
    if found.answers:
        yield "## Answers"
        yield table(ANSWER_HEAD, answer_rows(found))
    if found.drift:
        yield "## Drift of the inputs"
        yield table(DRIFT_HEAD, drift_rows(found), 2)
    yield "\n".join(f"- {note}" for note in notes(found))
    yield f"{found.method} Bundle {found.bundle[:12]}."
