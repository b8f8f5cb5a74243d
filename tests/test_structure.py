"""The house holds: imports go one way, files and functions stay short, names say something, no pickle.

A file has 300 lines at most and a function 50, from `def` to its end; a function takes 8 parameters, `self` and `cls`
not counted; a class stands two steps below the base of its kind. Nothing is exempt.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

SRC = Path(__file__).parent.parent / "src" / "luban"
FILES = sorted(SRC.rglob("*.py"))
ORDER = [
    ("errors", "catalog", "choices"),
    ("store",),
    ("engine",),
    ("data",),
    ("policy",),
    ("features",),
    ("tasks",),
    ("bundle",),
    ("models",),
    ("prepare", "evaluate"),
    ("train",),
    ("explain",),
    ("compress",),
    ("release",),
    ("serve",),
    ("deploy",),
    ("project", "workshop"),
    ("look",),
    ("lifecycle", "templates", "doctor"),
    ("client",),
    ("cli",),
    ("checks",),
]
MAX_LINES, MAX_FUNCTION_LINES, MAX_PARAMETERS, MAX_STEPS = 300, 50, 8, 2
ROOTS = {("luban.catalog", "Component"), ("luban.catalog", "Config")}
"""What a catalog asks of every kind and of every settings: kinds begin below them."""
RANK = {name: rank for rank, names in enumerate(ORDER) for name in names}


def imports(tree: ast.AST) -> Iterator[str]:
    """Modules of luban that a file imports, those for type checkers alone left out."""
    skipped = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("luban."):
            yield node.module.split(".")[1]
        elif isinstance(node, ast.Import):
            yield from (a.name.split(".")[1] for a in node.names if a.name.startswith("luban."))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SRC)))
def test_file(path: Path) -> None:
    text = path.read_text("utf-8")
    tree = ast.parse(text)
    part = path.relative_to(SRC).parts[0].removesuffix(".py")
    if not part.startswith("__"):
        for found in imports(tree):
            assert RANK[found] <= RANK[part], f"{part} must not import {found}"
            assert found != "checks" or part == "checks", "nobody imports checks"
    assert len(text.splitlines()) <= MAX_LINES
    assert ast.get_docstring(tree), "a module opens with what is here"
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < MAX_FUNCTION_LINES, f"{node.name} is too long"
            taken = [one.arg for one in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
            assert len(set(taken) - {"self", "cls"}) <= MAX_PARAMETERS, f"{node.name} takes too much"
    assert not {"utils", "common", "core", "helpers", "misc", "manager"} & {path.stem, *path.relative_to(SRC).parts}
    modules = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert not modules & {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}


def named(tree: ast.Module, module: str) -> dict[str, tuple[str, str]]:
    """Where the names come from that a file imports from luban, by what they are called in it."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("luban"):
            found |= {alias.asname or alias.name: (node.module, alias.name) for alias in node.names}
        elif isinstance(node, ast.ClassDef):
            found.setdefault(node.name, (module, node.name))
    return found


def classes(body: Sequence[ast.stmt], outer: str = "") -> Iterator[tuple[str, ast.ClassDef]]:
    """The classes of a file by their qualified names, those in functions left out."""
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield f"{outer}{node.name}", node
            yield from classes(node.body, f"{outer}{node.name}.")


def bases() -> dict[tuple[str, str], list[tuple[str, str]]]:
    """What each class of luban inherits from, by module and qualified name."""
    found = {}
    for path in FILES:
        tree = ast.parse(path.read_text("utf-8"))
        module = ".".join(("luban", *path.relative_to(SRC).with_suffix("").parts)).removesuffix(".__init__")
        names = named(tree, module)
        for name, node in classes(tree.body):
            written = [ast.unparse(base.value if isinstance(base, ast.Subscript) else base) for base in node.bases]
            split = [one.partition(".") for one in written if one.partition(".")[0] in names]
            found[module, name] = [(names[head][0], f"{names[head][1]}{dot}{rest}") for head, dot, rest in split]
    return found


def test_inheritance_is_two_deep() -> None:
    known = bases()

    def steps(one: tuple[str, str]) -> int:
        below = [other for other in known.get(one, ()) if other != one and other in known and other not in ROOTS]
        return 1 + max(map(steps, below)) if below else 0

    assert steps(("luban.data.sources.csv", "Csv")) == 2
    assert {one: found for one in known if (found := steps(one)) > MAX_STEPS} == {}


LIGHT = {
    "luban": ("numpy", "pyarrow", "pydantic", "onnx", "onnxruntime", "sqlalchemy", "typer"),
    "luban.cli.main": ("numpy", "pyarrow", "onnx", "onnxruntime", "sqlalchemy", "sklearn", "lightgbm", "uvicorn"),
    "luban.bundle.bundle": ("sklearn", "lightgbm", "pandas", "torch", "sqlalchemy", "scipy"),
    "luban.serve.server": ("sklearn", "lightgbm", "pandas", "torch", "scipy"),
    "luban.project": ("sklearn", "lightgbm", "pandas", "torch", "scipy", "onnxruntime", "uvicorn"),
}


@pytest.mark.parametrize("module", LIGHT)
def test_import_is_light(module: str) -> None:
    """Importing a module does not bring libraries that it does not need."""
    code = f"import sys, {module}; print(' '.join(m for m in {LIGHT[module]!r} if m in sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout.split() == []
