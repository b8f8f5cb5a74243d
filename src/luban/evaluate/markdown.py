"""A report as Markdown: headings, sentences and tables that read well as plain text too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from luban.evaluate.view import View


def markdown(view: View) -> str:
    """The whole report."""
    return "\n\n".join(part for part in _parts(view) if part) + "\n"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], right: int = 1) -> str:
    """A table whose columns from `right` on are aligned to the right; empty without rows.

    >>> print(table(["a", "b"], [["x|y", "1"]]))
    | a | b |
    | --- | ---: |
    | x\\|y | 1 |
    """
    if not rows:
        return ""
    rule = ["---" if position < right else "---:" for position in range(len(head))]
    return "\n".join(_line(cells) for cells in (head, rule, *rows))


def _line(cells: Sequence[str]) -> str:
    plain = (" ".join(cell.replace("|", "\\|").split()) for cell in cells)
    return f"| {' | '.join(plain)} |"


def _parts(view: View) -> Iterator[str]:
    t, report = view.words, view.report
    yield f"# {report.title}"
    yield f"**{view.verdict}** {view.gate_verdict}"
    for key in ("owner", "purpose"):
        yield f"**{t[key]}** {report.project.get(key) or t['nobody']}"
    yield f"## {t['results']}"
    yield view.results_note
    head = [t["metric"], t["value"], t["interval"], *(t[name] for name in view.others)]
    yield table(head, [[name, value, interval, *beside] for name, _, value, interval, beside in view.metric_rows])
    yield "\n".join(f"- {sentence}" for sentence in [*view.reasons, *view.comparisons])
    yield from _classes(view)
    yield view.coverage or ""
    yield f"## {t['leaderboard']}"
    yield view.leaderboard_note
    head = [t["candidate"], t["family"], t["status"], t["loss"], t["seconds"], t["note"]]
    yield table(head, [row.cells for row in view.candidates], 3)
    yield f"## {t['data']}"
    yield table([t["data"], t["count"]], [row.cells for row in view.data_rows])
    yield "\n".join(f"- {note}" for note in report.data.get("notes", []))
    if view.gate_rows:
        yield f"## {t['gates']}"
        yield "\n".join(_gates(view))
    yield f"## {t['costs']}"
    yield table([t["costs"], t["value"]], [row.cells for row in view.cost_rows])
    yield f"## {t['lineage']}"
    yield table([t["lineage"], t["value"]], [row.cells for row in view.lineage_rows], 2)
    yield f"**{t['method']}** {view.evaluation['method']}"
    yield f"*{t['made_by']}*"


def _classes(view: View) -> Iterator[str]:
    t = view.words
    if view.class_rows:
        yield f"## {t['per_class']}"
        head = [t["class"], t["precision"], t["recall"], t["f1"], t["support"], t["answered"]]
        yield table(head, [row.cells for row in view.class_rows])
    if view.matrix:
        labels, lines = view.matrix
        yield f"### {t['confusion']}"
        rows = [[label, *(f"{cell.rows:,}" for cell in line)] for label, line in zip(labels, lines, strict=True)]
        yield table([f"{t['truth']} \\ {t['answer']}", *labels], rows)
    elif view.mistakes:
        yield f"### {t['confusions']}"
        yield table([t["truth"], t["answer"], t["rows"]], [row.cells for row in view.mistakes], 2)
    if view.calibration:
        yield f"## {t['calibration']}"
        yield view.calibration
        dots = [[f"{dot.confidence:.3f}", f"{dot.accuracy:.3f}", f"{dot.rows:,}"] for dot in view.dots]
        yield table([t["confidence"], t["accuracy"], t["rows"]], dots, 0)


def _gates(view: View) -> Iterator[str]:
    for code, title, status, found, todo, _ in view.gate_rows:
        yield f"- **{code} {title}** {status}. {found}"
        if todo:
            yield f"  **{view.words['todo']}** {todo}"
