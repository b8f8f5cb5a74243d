"""A report in the terminal: a verdict, a few tables with little ink, gates with what to do.

For people; machines read the JSON. Colours mark only what is chosen, passed or failed, and are left
out where the terminal has none. Knows the view alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from luban.evaluate.closer import closer
from luban.evaluate.layout import Row
from luban.evaluate.origins import candidate_rows, leaderboard_note
from luban.evaluate.page import blocks
from luban.evaluate.view import View

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from luban.evaluate.report import Report

MAX_CLASS_LINES = 12
STYLES = {"passed": "green", "failed": "bold red", "not applicable": "dim"}
MARKS = {"passed": "✓", "failed": "✗", "not applicable": "–"}


def render_terminal(report: Report, console: Console | None = None) -> None:
    """Print a report; on standard output where no console is given."""
    console = console or _console()
    view = report.view
    t = view.words
    console.print()
    console.print(f" {report.title} ", style="bold reverse", highlight=False, markup=False)
    console.print()
    console.print(view.verdict, style="bold", highlight=False, markup=False)
    _metrics(console, view)
    for sentence in [*view.reasons, *view.comparisons]:
        console.print(sentence, highlight=False, markup=False)
    if view.class_rows:
        _heading(console, t["per_class"])
        head = [t["class"], t["precision"], t["recall"], t["f1"], t["support"], t["answered"]]
        console.print(_table(head, view.class_rows[:MAX_CLASS_LINES]))
    for said in (view.calibration, view.coverage):
        if said:
            console.print(said, highlight=False, markup=False)
    _closer(console, view)
    render_leaderboard(report, console)
    _gates(console, view)


def render_leaderboard(report: Report, console: Console | None = None) -> None:
    """Print the leaderboard alone."""
    console = console or _console()
    view = report.view
    t = view.words
    _heading(console, t["leaderboard"])
    head = [t["candidate"], t["family"], t["status"], t["loss"], t["seconds"], t["note"]]
    console.print(_table(head, candidate_rows(view), {0, 1, 2, 5}))
    console.print(leaderboard_note(view), style="dim", highlight=False, markup=False)


def _metrics(console: Console, view: View) -> None:
    t = view.words
    _heading(console, t["results"])
    head = [t["metric"], t["value"], t["interval"], *(t[name] for name in view.others)]
    rows = [Row((name, value, interval, *beside)) for name, _, value, interval, beside in view.metric_rows]
    rows[:1] = [Row(row.cells, "chosen") for row in rows[:1]]
    console.print(_table(head, rows))
    console.print(view.results_note, style="dim", highlight=False, markup=False)


def _closer(console: Console, view: View) -> None:
    """Slices, money and the like: headings, sentences and tables."""
    for block in closer(view):
        if isinstance(block, blocks.Heading):
            _heading(console, block.text)
        elif isinstance(block, blocks.Text):
            console.print(block.text, style="dim" if block.soft else None, highlight=False, markup=False)
        elif isinstance(block, blocks.Table):
            console.print(_table(block.head, block.rows[:MAX_CLASS_LINES]))


def _gates(console: Console, view: View) -> None:
    from rich.text import Text

    if not view.gate_rows:
        return
    _heading(console, view.words["gates"])
    for code, title, _, found, todo, status in view.gate_rows:
        line = Text.assemble((f"{MARKS[status]} {code} {title} ", STYLES[status]), (found, ""))
        console.print(line, highlight=False)
        if todo:
            console.print(Text.assemble(("  → ", "bold red"), todo), highlight=False)
    style = STYLES["failed" if view.any_failed else "passed"]
    console.print(view.gate_verdict, style=style, highlight=False, markup=False)


def _heading(console: Console, text: str) -> None:
    console.print()
    console.print(text, style="bold cyan", highlight=False, markup=False)


def _table(head: Sequence[str], rows: Sequence[Row], left: set[int] | None = None) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="dim")
    for position, name in enumerate(head):
        numeric = position not in (left if left is not None else {0})
        options: Any = {"justify": "right", "no_wrap": True} if numeric else {"overflow": "fold"}
        table.add_column(Text(name), **options)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row.cells), style="bold green" if row.mark == "chosen" else None)
    return table


def _console() -> Console:
    from rich.console import Console

    return Console()
