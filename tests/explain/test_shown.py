"""What people see: the terminal, the page, the command."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from luban.bundle.bundle import Bundle
from luban.checks.explainers import made_rows
from luban.cli.main import app
from luban.errors import ConfigError
from luban.explain import explain
from luban.explain.page import page
from luban.explain.terminal import render
from luban.explain.wording import UNITS, WORDS

ROW = {"text": "<b>late</b> & cold, quick order", "number": 1.5, "category": "a"}


def test_languages_have_the_same_words_and_blanks() -> None:
    blanks = {
        language: {key: set(re.findall(r"{(\w+)}", text)) for key, text in words.items()}
        for language, words in WORDS.items()
    }
    assert blanks["en"] == blanks["zh"]
    assert UNITS["en"].keys() == UNITS["zh"].keys()


def test_page_is_self_contained_and_escaped(linear: Bundle) -> None:
    found = [*explain(linear, [ROW, {}], "shapley"), *explain(linear, [ROW], "counterfactual")]
    for language in ("en", "zh"):
        text = page(found, linear.manifest.name, language)  # type: ignore[arg-type]
        assert not re.search(r"(src|href)=|https?://|<script", text)
        assert "&lt;" in text
        assert "<b>late" not in text
        assert 'class="for"' in text
        assert 'class="against"' in text
    assert "第 1 行" in text


def test_terminal_without_colours_has_signs(linear: Bundle) -> None:
    out = io.StringIO()
    render(explain(linear, [ROW], "occlusion", asked="bad"), console=Console(file=out, width=100))
    assert "[+late]" in out.getvalue()
    assert "[-quick]" in out.getvalue()
    out = io.StringIO()
    coloured = Console(file=out, width=100, force_terminal=True, color_system="standard")
    render(explain(linear, [ROW], "occlusion", asked="bad"), console=coloured)
    assert re.search(r"\x1b\[[0-9;]*32mlate", out.getvalue())
    assert re.search(r"\x1b\[[0-9;]*31mquick", out.getvalue())


def test_command(linear: Bundle, tmp_path: Path) -> None:
    folder = str(linear.folder)
    runner = CliRunner()
    done = runner.invoke(app, ["explain", folder, "--row", json.dumps(ROW), "--method", "occlusion", "--json"])
    assert done.exit_code == 0
    found = json.loads(done.stdout)
    assert found["method"] == "occlusion"
    assert {share["column"] for share in found["shares"]} == {"text", "number", "category"}
    rows = tmp_path / "rows.csv"
    rows.write_text("text,number,label\nlate,1,bad\nquick,2,good\n,3,good\n", "utf-8")
    done = runner.invoke(app, ["explain", folder, "--rows", str(rows), "--html", str(tmp_path / "why.html")])
    assert done.exit_code == 0
    assert (tmp_path / "why.html").read_text("utf-8").count("<article>") == 3
    done = runner.invoke(app, ["explain", folder, "--rows", str(rows), "--method", "permutation", "--json"])
    assert json.loads(done.stdout)["measure"] == "loss"
    done = runner.invoke(app, ["explain", folder])
    assert done.stdout.count("shapley") == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--row", "[1]"], "must be a JSON object"),
        (["--row", "{"], "must be a JSON object"),
        (["--row", "{}", "--rows", "x.csv"], "cannot both be given"),
        (["--option", "coalition=3"], "--option `coalition`"),
        (["--class", "great"], "no class `great`"),
        (["--method", "shaply"], "no explanation method `shaply`"),
        (["--method", "path"], "does not suit this bundle"),
    ],
)
def test_wrong_calls_say_what_to_do(linear: Bundle, arguments: list[str], message: str) -> None:
    done = CliRunner().invoke(app, ["explain", str(linear.folder), *arguments])
    assert isinstance(done.exception, ConfigError)
    assert message in str(done.exception)


def test_settings_are_the_methods_own(linear: Bundle) -> None:
    few = explain(
        linear, made_rows(1, ("text", "number", "category")), "shapley", settings={"exact_parts": 3, "coalitions": 16}
    )
    assert few[0].to_json()["std_error"] is not None
