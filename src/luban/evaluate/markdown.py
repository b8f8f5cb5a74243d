"""A report as Markdown: the page's sections as headings, sentences and tables that read well as plain text too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from luban.evaluate.page.blocks import Bars, Block, Figures, Heading, Matrix, Stack, Table, Text

if TYPE_CHECKING:
    from luban.evaluate.view import View


def markdown(view: View) -> str:
    """The whole report; figures are given by what is said below them."""
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
    plain = (" ".join(cell.partition("\n")[0].replace("|", "\\|").split()) for cell in cells)
    return f"| {' | '.join(plain)} |"


def _parts(view: View) -> Iterator[str]:
    from luban.evaluate.page import advice, page

    t, report = view.words, view.report
    yield f"# {report.title}"
    yield f"**{view.verdict}** {view.gate_verdict}"
    yield f"## {t['next']}"
    steps = advice.steps(view)
    yield "\n".join(f"{number}. **{step.todo}** {step.why}" for number, step in enumerate(steps, 1)) or t["next_none"]
    for section in page.sections(view):
        yield f"## {section.title}"
        for block in section.blocks:
            yield from block_parts(block)
    if view.gate_rows:
        yield f"## {t['gates']}"
        yield "\n".join(_gates(view))
    yield f"## {t['lineage']}"
    yield table([t["lineage"], t["value"]], [row.cells for row in view.lineage_rows], 2)
    yield f"**{t['method']}** {view.method}"
    yield f"*{t['made_by']}*"


def block_parts(block: Block) -> Iterator[str]:
    """One block as paragraphs; rows to be read are left out: they need their colours."""
    if isinstance(block, Text):
        yield block.text
    elif isinstance(block, Heading):
        yield f"### {block.text}"
    elif isinstance(block, Figures):
        for figure in block.figures:
            said = " · ".join(filter(None, [figure.note, *(name for _, name in figure.lines)]))
            if said:
                yield f"**{figure.title}** {said}"
    elif isinstance(block, Table):
        head = block.head or [""] * max((len(row.cells) for row in block.rows), default=0)
        yield table(head, [row.cells for row in block.rows], block.right)
    elif isinstance(block, Matrix):
        rows = [
            [label, *(f"{cell.rows:,}" for cell in line)] for label, line in zip(block.labels, block.lines, strict=True)
        ]
        yield table([block.corner, *block.labels], rows)
    elif isinstance(block, Bars):
        yield table(["", ""], [[bar.label, bar.written] for bar in block.bars])
    elif isinstance(block, Stack):
        yield "; ".join(f"{part.label} {part.written}" for part in block.parts)


def _gates(view: View) -> Iterator[str]:
    for code, title, status, found, todo, _ in view.gate_rows:
        yield f"- **{code} {title}** {status}. {found}"
        if todo:
            yield f"  **{view.words['todo']}** {todo}"
