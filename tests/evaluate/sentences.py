"""Every sentence that a report may be given in English, as the sources say it: found by the shape of the code.

Whoever says why a candidate was refused or a figure is missing does so in one of a few ways: an exception that is kept
(`Undefined`), a `Refusal`, a note, a keyword or variable called `reason`, or a function whose answer is one. All such
places are read from the syntax trees; a blank of an f-string becomes "7". What is put together by `join` or taken from
elsewhere is not seen.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import luban

ROOT = Path(luban.__file__).parent


@dataclass(frozen=True)
class Where:
    """Which shapes of a package's code are sentences: names of variables and keywords, of calls, of functions."""

    names: frozenset[str] = frozenset()
    calls: frozenset[str] = frozenset()
    functions: frozenset[str] = frozenset()


def of(names: str = "", calls: str = "", functions: str = "") -> Where:
    return Where(*(frozenset(one.split()) for one in (names, calls, functions)))


NOTED = "reason what why note notes skip"
PLACES = {
    "prepare/report.py": of("said", functions="notes"),
    "prepare/parts.py": of(functions="_notes"),
    "train": of(NOTED, "Refusal DataError", "_may_start unpack"),
    "models": of(NOTED, "Refusal DataError", "_fits_nothing"),
    "features": of(functions="supports"),
    "compress": of("reason", "Refusal", "supports"),
    "evaluate": of("reason", "Undefined"),
    "evaluate/evaluate.py": of(functions="_method"),
    "release/gates/run.py": of("_TODO", "failed"),
}
OTHERS = ("evaluate/shift.py", "evaluate/shift_text.py", "evaluate/wording.py")
"""What is said of another file of rows, which is no report; and the words themselves."""


def sentences() -> dict[str, str]:
    """Each sentence, with a place where it stands."""
    found: dict[str, str] = {}
    for place, where in PLACES.items():
        target = ROOT / place
        for path in sorted(target.rglob("*.py")) if target.is_dir() else [target]:
            name = path.relative_to(ROOT).as_posix()
            if name not in OTHERS and "/page/" not in name:
                for line, text in _said(ast.parse(path.read_text("utf-8")), where):
                    found.setdefault(text, f"{name}:{line}")
    return found


def _said(tree: ast.Module, where: Where) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        for value in _values(node, where):
            yield from ((value.lineno, text) for text in templates(value) if text.strip())


def _values(node: ast.AST, where: Where) -> Iterator[ast.expr]:
    if isinstance(node, ast.Call):
        yield from _of_call(node, where)
    elif isinstance(node, ast.Assign):
        if any(_name(target) in where.names for target in node.targets):
            yield node.value
    elif isinstance(node, ast.AugAssign | ast.AnnAssign):
        if _name(node.target) in where.names and node.value is not None:
            yield node.value
    elif isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            if isinstance(key, ast.Constant) and key.value in where.names:
                yield value
    elif isinstance(node, ast.FunctionDef) and node.name in where.functions:
        for inner in ast.walk(node):
            if isinstance(inner, ast.Return | ast.Yield) and inner.value is not None:
                yield inner.value


def _of_call(node: ast.Call, where: Where) -> Iterator[ast.expr]:
    name = _name(node.func)
    if name in where.calls:
        yield from node.args[:1] if name.endswith("Error") else node.args  # what to do is said at the terminal alone
    if isinstance(node.func, ast.Attribute) and name in ("append", "extend") and _name(node.func.value) in where.names:
        yield from node.args
    yield from (keyword.value for keyword in node.keywords if keyword.arg in where.names)


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def templates(node: ast.expr) -> list[str]:
    """The texts that an expression may be, blanks filled with 7; none where it is no text of its own.

    >>> templates(ast.parse("f'{n} rows' + ('.' if n else '!')", mode="eval").body)
    ['7 rows.', '7 rows!']
    """
    match node:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.JoinedStr(values=values):
            return ["".join(str(one.value) if isinstance(one, ast.Constant) else "7" for one in values)]
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            before, after = templates(left), templates(right)
            return [a + b for a in before or ["7"] for b in after or ["7"]] if before or after else []
        case ast.IfExp(body=body, orelse=orelse):
            return templates(body) + templates(orelse)
        case ast.BoolOp(values=values) | ast.List(elts=values) | ast.Tuple(elts=values):
            return [text for value in values for text in templates(value)]
        case ast.ListComp(elt=value) | ast.GeneratorExp(elt=value) | ast.Starred(value=value):
            return templates(value)
    return []
