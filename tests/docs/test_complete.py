"""What is there is documented: settings, commands, options, catalog entries, gates, variables, problems, figures."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer

from luban.catalog import CATALOGS, GATES, TARGETS, Catalog
from luban.cli.main import app as cli
from luban.deploy.proxies.answers import ANSWERS
from luban.evaluate.metrics import METRICS
from luban.project import RESERVED
from luban.serve.http.problems import KINDS
from luban.serve.watch.figures import FIGURES
from luban.templates import TEMPLATES

from .tables import BLOCK, GUIDE, commands, configs, filled

ROOT = GUIDE.parents[1]
PAGES = sorted(GUIDE.glob("*.md"))
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
HOME_OF = {
    "SOURCES": "prepare",
    "SINKS": "predict",
    "FEATURES": "prepare",
    "TASKS": "train",
    "RUNTIMES": "bundle",
    "FAMILIES": "train",
    "TOWERS": "neural",
    "CONVERTERS": "train",
    "STEPS": "prepare",
    "COMPRESSORS": "compress",
    "EXPLAINERS": "explain",
    "GATES": "release",
    "TARGETS": "deploy",
}
"""The page of each catalog's entries."""


def _page(name: str) -> str:
    return (GUIDE / f"{name}.md").read_text("utf-8")


def _tables(kind: str) -> set[str]:
    return {name for page in PAGES for _, found, name, _, _ in BLOCK.findall(page.read_text("utf-8")) if found == kind}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_tables_are_those_of_the_code(page: Path) -> None:
    text = page.read_text("utf-8")
    assert filled(text) == text, "run: python tests/docs/tables.py"


def test_every_setting_has_a_table() -> None:
    assert _tables("settings") == set(configs()), "add `<!-- settings: NAME -->` and `<!-- end -->` to a page"


def test_every_command_has_a_table() -> None:
    assert _tables("command") == set(commands()), "add `<!-- command: NAME -->` and `<!-- end -->` to a page"


@pytest.mark.parametrize("catalog", CATALOGS, ids=lambda catalog: catalog.table)
def test_every_entry_is_named(catalog: Catalog[object]) -> None:
    page = HOME_OF[catalog.table]
    missing = [name for name in catalog.own() if f"| `{name}` |" not in _page(page)]
    assert not missing, f"docs/guide/{page}.md needs a row for {missing}"


def test_every_gate_is_explained() -> None:
    for name in GATES.own():
        gate = GATES.resolve(name)
        assert f"{gate.code}: {gate.title}" in _page("release"), (
            f"docs/guide/release.md needs a section for {gate.code}"
        )


def test_names_that_are_met_are_explained() -> None:
    for page, names in {
        "evaluate": METRICS,
        "serve": KINDS,
        "deploy": [answer.kind for answer in ANSWERS.values()],
        "watch": FIGURES,
        "project-file": RESERVED,
        "init": TEMPLATES,
    }.items():
        text = _page(page)
        missing = [name for name in names if f"`{name}" not in text]
        assert not missing, f"docs/guide/{page}.md must name {missing}"


def test_every_environment_variable_is_explained() -> None:
    source = "\n".join(path.read_text("utf-8") for path in (ROOT / "src").rglob("*.py"))
    used = set(re.findall(r"\bLUBAN_(?!_)[A-Z_]*[A-Z]\b", source))
    missing = [name for name in used if f"`{name}`" not in _page("project-file")]
    assert not missing, f"docs/guide/project-file.md must name {missing}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(document: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", document.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        path = (document.parent / name).resolve() if name else document
        assert path.exists(), f"{target} leads nowhere"
        if anchor:
            assert anchor in _anchors(path.read_text("utf-8")), f"{target}: no such heading"


def _anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_commands_that_are_named_anywhere_are_there() -> None:
    """In pages, messages, and files that are written: `luban GROUP COMMAND`, and `luban COMMAND` in code."""
    app: Any = typer.main.get_command(cli)
    groups = {name: {*one.commands} for name, one in app.commands.items() if hasattr(one, "commands")}
    groups["deploy"] |= set(TARGETS.names())
    named = re.compile(rf"\bluban ({'|'.join(groups)})\s+([a-z][a-z-]*)|`luban ([a-z]+)")
    sources = (path for path in (ROOT / "src").rglob("*") if path.suffix in {".py", ".j2", ".html", ".yaml"})
    wrong = [
        f"{path.name}: {match[0]}"
        for path in (*DOCUMENTS, ROOT / "README.zh-CN.md", *sources)
        for match in named.finditer(path.read_text("utf-8"))
        if (match[2] not in groups[match[1]] if match[1] else match[3] not in app.commands)
    ]
    assert wrong == []
