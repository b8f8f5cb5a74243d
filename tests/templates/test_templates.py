"""Project files from templates: each one reads, in the language that was asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from luban.look.words import PHRASES
from luban.project import load_project
from luban.templates import TEMPLATES, from_template


@pytest.mark.parametrize("language", PHRASES)
@pytest.mark.parametrize("template", [name for name in TEMPLATES if name != "blank"])
def test_a_template_takes_the_language(template: str, language: str, tmp_path: Path) -> None:
    from_template(tmp_path / "p", template, None, language)  # type: ignore[arg-type]
    project, _ = load_project(tmp_path / "p")
    assert project.language == language
    assert project.purpose


def test_the_blank_one_takes_it_too(tmp_path: Path) -> None:
    assert "\nlanguage: zh\n" in from_template(tmp_path, "blank", language="zh").read_text("utf-8")
