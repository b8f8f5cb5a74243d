"""The page of figures: lines of JSON become tables between markers in docs/benchmarks.md.

    <!-- figures: reviews -->
    … replaced by whoever runs `python -m benchmarks reviews` …
    <!-- end of figures -->

Decided here: lines with the same figures stand in one table, in the order of the first of them; what a table leaves out
(a nested figure) is in the printed lines. Words between the markers' sections are people's. A benchmark without
markers gets a section at the end.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
END = "<!-- end of figures -->"
TITLE = "# Benchmarks\n\n`make bench` measures all of this on your machine and writes its figures here.\n"


def update(name: str, lines: Sequence[dict[str, Any]], machine: str, page: Path = PAGE) -> None:
    """Replace the figures of the benchmark `name` on the page; `machine` says where they were taken."""
    start = f"<!-- figures: {name} -->"
    section = f"{start}\n{tables(lines)}\n{machine}\n{END}"
    text = page.read_text("utf-8") if page.exists() else TITLE
    between = re.compile(f"{re.escape(start)}.*?{re.escape(END)}", re.DOTALL)
    if between.search(text):
        text = between.sub(lambda _: section, text, count=1)
    else:
        text = f"{text.rstrip()}\n\n## {name.replace('_', ' ').capitalize()}\n\n{section}\n"
    page.write_text(text, "utf-8")


def tables(lines: Sequence[dict[str, Any]]) -> str:
    """Markdown tables, one for each set of figures.

    >>> print(tables([{"what": "a", "seconds": 0.25, "interval": [0.2, 0.3]}]))
    | what | seconds | interval |
    | --- | --- | --- |
    | a | 0.25 | 0.2 … 0.3 |
    <BLANKLINE>
    """
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for line in lines:
        flat = {name: value for name, value in line.items() if name != "benchmark" and not isinstance(value, dict)}
        groups.setdefault(tuple(flat), []).append(flat)
    found = []
    for names, rows in groups.items():
        kept = _telling(names, rows)
        head = [" | ".join(name.replace("_", " ") for name in kept), " | ".join("---" for _ in kept)]
        body = [" | ".join(_cell(row[name]) for name in kept) for row in rows]
        found.append("".join(f"| {line} |\n" for line in [*head, *body]))
    return "\n".join(found)


def _telling(names: Sequence[str], rows: Sequence[dict[str, Any]]) -> list[str]:
    """The columns but `what`, where another column tells the rows apart and `what` is the same in all."""
    repeated = len(rows) > 1 and len({row.get("what") for row in rows}) == 1
    return [name for name in names if not (name == "what" and repeated)]


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return " … ".join(_cell(part) for part in value)
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float) and 0 < abs(value) < 1e-3:
        return f"{value:.1e}"
    return (value if isinstance(value, str) else json.dumps(value)).replace("|", "\\|")
