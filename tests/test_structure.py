"""The house holds: imports go one way, files and functions stay short, names say something, no pickle."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
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
    assert len(text.splitlines()) <= 500
    assert ast.get_docstring(tree), "a module opens with what is here"
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < 60, f"{node.name} is too long"
    assert not {"utils", "common", "core", "helpers", "misc", "manager"} & {path.stem, *path.relative_to(SRC).parts}
    modules = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert not modules & {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}


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
