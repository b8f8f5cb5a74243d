"""What the doctor finds on machines and in projects that lack something, and that it only looks."""

from __future__ import annotations

import importlib.metadata
import json
import socket
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from luban.cli.main import app
from luban.doctor import installed, machine, plans
from luban.doctor.examine import examine
from luban.doctor.finding import Finding, lacking
from luban.doctor.installed import requirements, within

PROJECT = "name: shop\ndata: {source: rows.csv, target: label}\ntrain: {models: [trees]}\n"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "luban.yaml").write_text(PROJECT, "utf-8")
    (folder / "rows.csv").write_text("text,label\ngood,1\nbad,0\n", "utf-8")
    return folder


def asked(*arguments: str) -> tuple[int, dict[str, Any]]:
    """Exit status and findings by `area name`."""
    done = CliRunner().invoke(app, ["doctor", "--json", *arguments])
    found = json.loads(done.stdout)
    assert found["ok"] == (done.exit_code == 0)
    return done.exit_code, {f"{one['area']} {one['name']}": one for one in found["findings"]}


def without(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    version = importlib.metadata.version

    def lookup(name: str) -> str:
        if name in names:
            raise importlib.metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(importlib.metadata, "version", lookup)


def test_all_is_well(shop: Path) -> None:
    before = sorted(shop.rglob("*"))
    status, found = asked("--project", str(shop))
    assert status == 0
    assert found["project source"]["text"] == "can be read; 2 columns"
    assert found["project luban[train]"]["status"] == "ok"
    assert found["would use store"]["text"].endswith("made when it is first needed")
    assert sorted(shop.rglob("*")) == before, "it only looks"


def test_for_people(shop: Path) -> None:
    done = CliRunner().invoke(app, ["doctor", "--project", str(shop)])
    assert done.exit_code == 0
    for part in ("project\n", "machine\n", "installed\n", "would use\n", "✓ source", "threads", "families"):
        assert part in done.stdout


def test_a_missing_extra_counts_only_where_it_is_needed(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "lightgbm", "optuna")
    status, found = asked()
    assert status == 0
    assert found["installed luban[train]"]["status"] == "missing"
    assert found["installed luban[train]"]["mend"] == 'pip install "luban[train]"'
    status, found = asked("--project", str(shop))
    assert status == 1
    assert found["project luban[train]"]["status"] == "missing"
    assert "project luban[tune]" not in found


def test_tuning_needs_its_extra(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "optuna")
    file = shop / "luban.yaml"
    file.write_text(PROJECT + "tune: {family: trees}\n", "utf-8")
    status, found = asked("--project", str(file))
    assert (status, found["project luban[tune]"]["status"]) == (1, "missing")
    file.write_text(PROJECT + "tune: {family: trees, sampler: grid}\n", "utf-8")
    assert asked("--project", str(file))[0] == 0


def test_components_inside_components_count(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "torch")
    for models, status in (
        ("[{kind: trees, converters: [{kind: encoder, model: mini}]}]", 1),
        ("[{kind: neural, tower: bag}]", 1),
        ("[trees]", 0),
    ):
        text = PROJECT.replace("models: [trees]", f"models: {models}")
        (shop / "luban.yaml").write_text(text, "utf-8")
        found, said = asked("--project", str(shop))
        assert (found, "project luban[neural]" in said) == (status, bool(status)), said


def test_another_version_than_is_asked_for_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "9.0" if name == "optuna" else real(name))
    one = installed.of_extra("tune")
    assert one.status == "warn"
    assert "optuna 9.0" in one.text
    assert "<6" in one.text


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ("{source: nothing.csv, target: label}", "There is no file"),
        ("{source: rows.csv, target: verdict}", "no column `verdict`"),
        ("{source: [1], target: label}", "luban.yaml, line 2"),
    ],
)
def test_a_project_that_cannot_work(shop: Path, data: str, says: str) -> None:
    (shop / "luban.yaml").write_text(f"name: shop\ndata: {data}\n", "utf-8")
    status, found = asked("--project", str(shop))
    assert status == 1
    (wrong,) = [one for one in found.values() if one["needed"] and one["status"] == "missing"]
    assert says in wrong["text"]


def test_a_project_without_a_target_can_be_prepared(shop: Path) -> None:
    (shop / "luban.yaml").write_text("name: shop\ndata: {source: rows.csv}\n", "utf-8")
    status, found = asked("--project", str(shop))
    assert (status, found["project target"]["status"]) == (0, "warn")


@pytest.mark.parametrize(
    "source", ["https://example.invalid/rows.csv", "{kind: package, name: x, version: '1', path: a}"]
)
def test_no_network_is_asked(shop: Path, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUBAN_CACHE", str(tmp_path / "cache"))

    def refuse(*arguments: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr("subprocess.run", refuse)
    (shop / "luban.yaml").write_text(f"name: shop\ndata: {{source: {source}, target: label}}\n", "utf-8")
    found = {f"{one.area} {one.name}": one for one in examine(shop)}
    assert found["project source"].status == "warn"
    assert "not here yet" in found["project source"].text


def test_a_client_that_is_needed_and_missing(shop: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LUBAN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    source = "{kind: package, index: npm, name: x, version: '1', path: a}"
    (shop / "luban.yaml").write_text(f"name: shop\ndata: {{source: {source}}}\n", "utf-8")
    (wrong,) = lacking(examine(shop))
    assert "npm" in wrong.text


def test_state_that_cannot_be_kept(shop: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("no folder", "utf-8")
    monkeypatch.setenv("LUBAN_STORE", str(file))
    monkeypatch.setenv("LUBAN_LEDGER", str(file))
    assert {one.name for one in lacking(examine(shop))} == {"store", "ledger"}
    monkeypatch.setenv("LUBAN_STORE", "nothing-of-the-kind://bucket")
    monkeypatch.setenv("LUBAN_LEDGER", "postgresql://ada:secret@127.0.0.1:1/luban")
    found = {one.name: one for one in lacking(examine(shop))}
    assert "does not answer" in found["store"].text
    assert "does not answer" in found["ledger"].text
    assert "secret" not in found["ledger"].text


def test_a_ledger_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    monkeypatch.setattr(plans, "TIMEOUT_S", 0.05)
    held = threading.Event()
    assert plans.answers(held.wait) == "no answer within 0.05 s"
    held.set()
    assert plans.answers(lambda: None) is None


def test_limits_of_a_container_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_CGROUP", tmp_path)
    for name, text in (("cpu.max", "50000 100000"), ("memory.max", "1000000000"), ("memory.current", "400000000")):
        (tmp_path / name).write_text(text, "ascii")
    found = {one.name: one for one in machine.machine(tmp_path)}
    assert "may use 0.5" in found["cores"].text
    assert found["memory"].status == "warn"
    assert found["memory"].text.startswith("1.0 GB, 0.6 GB free")


def test_a_processor_without_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "flags", lambda: frozenset({"sse2"}))
    found: dict[str, Finding] = {one.name: one for one in machine._processor()}
    assert found["vectors"].status == "warn"
    assert "no bf16" in found["bf16"].text
    monkeypatch.setattr(machine, "flags", lambda: frozenset())
    assert [one.status for one in machine._processor()] == ["warn"]


def test_bounds_are_those_of_the_package() -> None:
    listed = requirements(
        ["scikit-learn<2,>=1.6; extra == 'train'", 'psycopg[binary]<4,>=3.2; extra == "postgres"', "a"]
    )
    assert [(one.name, one.bounds, one.extra) for one in listed] == [
        ("scikit-learn", "<2,>=1.6", "train"), ("psycopg", "<4,>=3.2", "postgres"), ("a", "", ""),
    ]  # fmt: skip
    assert {one.extra for one in requirements()} >= {"", "train", "neural", "tune"}
    assert within("2026.1", ">=2024.10")
    assert not within("2024.9", ">=2024.10")
    assert within("0.30.0rc1", ">=0.21,<1")
