"""Every code block of the README and the guide runs, and prints what the page says."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from .blocks import RUN, Block, Page, blocks, commands, same_json, same_text

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "README.zh-CN.md", *sorted((ROOT / "docs" / "guide").glob("*.md"))]
FRESH = ("README.md", "README.zh-CN.md", "docs/guide/init.md")
"""Pages that begin with nothing but reviews.csv; the others begin in a finished project."""
NOT_RUN = {
    "README.md": ["these commands install packages"] * 2,
    "README.zh-CN.md": ["these commands install packages"] * 2,
}
"""Blocks that are left out, by page."""


def _name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_page(page: Path, tmp_path: Path, reviews: Path, project: Path) -> None:
    if "curl " in page.read_text("utf-8") and shutil.which("curl") is None:
        pytest.skip("this page uses curl, which is not installed")
    folder = tmp_path / "work"
    shutil.copytree(reviews if _name(page) in FRESH else project, folder)
    running = Page(folder)
    try:
        for block in blocks(page):
            if block.reason is None and (block.language in RUN or (block.language == "text" and block.follows)):
                try:
                    running.run(block)
                except Exception as error:
                    error.add_note(f"in the block at {_name(page)}:{block.line}")
                    raise
    finally:
        running.close()


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_languages_are_known_and_few_blocks_are_left_out(page: Path) -> None:
    found = blocks(page)
    assert {block.language for block in found} <= {*RUN, "text"}
    assert [block.reason for block in found if block.reason is not None] == NOT_RUN.get(_name(page), [])
    assert any(block.reason is None and block.language in RUN for block in found), "no block of this page runs"


def test_a_wrong_block_fails(tmp_path: Path) -> None:
    """The runner itself can fail: a status, an output, a value, a field."""
    page = Page(tmp_path)
    wrong = {
        "console": ["$ false", "$ echo a\nb", "$ true\nerror: it should have failed"],
        "sh": ["false\ntrue"],
        "python": ["assert False"],
        "json": ["{"],
        "yaml": ["trian: {}", "train: {time_budget_s: -1}"],
    }
    for language, codes in wrong.items():
        for code in codes:
            with pytest.raises(Exception):  # noqa: B017, PT011 - each language fails in its own way
                page.run(Block(language, code + "\n", 1, None, False))


def test_outputs_are_compared() -> None:
    same_text("a … c\nd", "a b\nc d")
    same_json('{"a": 0.5, "b": "…", "…": 0}', '{"a": 0.7, "b": [1], "c": 2}')
    for expected, printed in (("a … c", "a b"), ("a b", "a b c")):
        with pytest.raises(AssertionError):
            same_text(expected, printed)
    for expected, printed in (('{"a": 1}', '{"a": 2}'), ('{"a": 1}', '{"a": 1, "b": 2}'), ('["…", 1]', "[3, 2]")):
        with pytest.raises(AssertionError):
            same_json(expected, printed)


def test_commands_are_found() -> None:
    assert commands("$ a \\\n  b\nsaid\n$ c\n") == [("a \\\n  b", "said\n"), ("c", "")]
