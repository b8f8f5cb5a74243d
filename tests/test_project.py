"""The project file: what it refuses, and where it says the fault is."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import resources
from pathlib import Path

import jsonschema
import pytest
import yaml

from luban.errors import ConfigError
from luban.project import Project, load_project
from luban.templates import TEMPLATES

GOOD = """\
name: shop
data:
  source: rows.csv
  target: label
train:
  models: [linear, {kind: trees}]
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "luban.yaml"
    path.write_text(text, "utf-8")
    return path


def refused(folder: Path, text: str, *sets: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_project(write(folder, text), sets)
    return str(caught.value)


def test_two_phases(tmp_path: Path) -> None:
    project, folder = load_project(write(tmp_path, GOOD))
    assert folder == tmp_path
    assert project.data.source.kind == "files"
    assert [choice.kind for choice in project.train.models if not isinstance(choice, str)] == ["linear", "trees"]
    again = Project.model_validate(json.loads(project.model_dump_json()))
    assert again == project


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: shop\ndata: {source: a.csv}\ntrian: {}\n", ["line 3", "`trian`", "`train`"]),
        ("name: shop\ndata:\n  source: a.csv\n  taget: y\n", ["line 4", "`data.taget`", "`target`"]),
        (
            "name: shop\ndata:\n  source: {kind: csv, path: a.csv, delimeter: ';'}\n",
            ["line 3", "delimeter", "`delimiter`"],
        ),
        ("name: shop\ndata: {source: a.csv}\ntrain:\n  models: [linaer]\n", ["line 4", "linaer", "`linear`"]),
        (
            "name: shop\ndata: {source: a.csv}\ntrain:\n  models:\n    - {kind: linear, cc: 1}\n",
            ["line 5", "`train.models.0.cc`"],
        ),
        ("name: shop\ndata: {source: a.csv}\ntrain: {time_budget_s: soon}\n", ["line 3", "time_budget_s", "'soon'"]),
        ("name: Shop Two\ndata: {source: a.csv}\n", ["line 1", "`name`"]),
        ("data: {source: a.csv}\n", ["`name` is required"]),
        ("name: shop\ndata: {source: a.csv}\nmonitor: {drift: weekly}\n", ["line 3", "reserved", "Remove"]),
        ("name: shop\ndata: {source: a.csv}\nbudget: {max_drop: -1}\n", ["line 3", "max_drop"]),
        ("name: shop\ndata: {source: a.csv}\ncompress: {methods: [int9]}\n", ["line 3", "int9", "`int8`"]),
        ("name: shop\nname: two\ndata: {source: a.csv}\n", ["line 2", "`name` stands twice"]),
        ("name: shop\ndata: [source\n", ["is not YAML"]),
        ("- 1\n", ["must be a mapping"]),
        ("name: shop\ndata: {source: a.csv, columns: {x: {type: nubmer}}}\n", ["nubmer", "`number`"]),
    ],
)  # fmt: skip
def test_refused_with_line_and_nearest(tmp_path: Path, text: str, said: list[str]) -> None:
    message = refused(tmp_path, text)
    for part in said:
        assert part in message, message


def test_set(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    project, _ = load_project(path, ["train.time_budget_s=30", "data.source.kind=csv", "data.source.path=b.csv"])
    assert project.train.time_budget_s == 30
    assert project.data.source.kind == "csv"
    assert "train.tme_budget_s" in refused(tmp_path, GOOD, "train.tme_budget_s=3")
    assert "section.field=value" in refused(tmp_path, GOOD, "nonsense")


def test_settings_in_environment_variables_come_before_those_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LUBAN__SERVE__PORT", "8080")
    monkeypatch.setenv("LUBAN__TRAIN__MODELS", "[trees]")
    project, _ = load_project(write(tmp_path, GOOD))
    assert project.serve.port == 8080
    assert [choice.kind for choice in project.train.models if not isinstance(choice, str)] == ["trees"]
    assert load_project(write(tmp_path, GOOD), ["serve.port=9"])[0].serve.port == 9
    monkeypatch.setenv("LUBAN__SERVE__PROT", "1")
    said = refused(tmp_path, GOOD)
    assert "`port`" in said
    assert said.startswith("The environment variable LUBAN__SERVE__PROT: "), "not the file, where it does not stand"


def test_reasons_speak_the_language_of_the_project(tmp_path: Path) -> None:
    def language(*overrides: str) -> str:
        return load_project(write(tmp_path, GOOD), overrides)[0].serve.explain.language

    assert (language(), language("language=zh"), language("language=zh", "serve.explain.language=en")) == (
        "en",
        "zh",
        "en",
    )


def test_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "luban.yaml").write_bytes(b"name: \xff\n")
    with pytest.raises(ConfigError, match="byte 6"):
        load_project(tmp_path)


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="luban init"):
        load_project(tmp_path)


def test_frozen(tmp_path: Path) -> None:
    project, _ = load_project(write(tmp_path, GOOD))
    with pytest.raises(ValueError, match="frozen"):
        project.train.time_budget_s = 1


def test_json_schema_describes_every_field() -> None:
    found = subprocess.run([sys.executable, "-m", "luban", "schema"], capture_output=True, text=True, check=True)
    schema = json.loads(found.stdout)
    assert schema["properties"]["train"]
    assert "time_budget_s" in found.stdout
    sentences = [field for field in schema["properties"].values() if "description" in field or "$ref" in field]
    assert len(sentences) >= len(schema["properties"]) - 2
    # what runs is valid, so that an editor marks nothing that is right
    templates = [resources.files("luban.templates").joinpath(f"{name}.yaml").read_text("utf-8") for name in TEMPLATES]
    for text in (GOOD, *(text.format(name="shop", owner="me", columns="a, b") for text in templates)):
        raw = yaml.safe_load(text)
        jsonschema.validate(raw, schema)
    for wrong in ({"price": "nubmer"}, {"price": {"type": "number", "decimel": ","}}, {"price": {"role": "outcome"}}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({"name": "shop", "data": {"source": "a.csv", "columns": wrong}}, schema)
