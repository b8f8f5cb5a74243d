"""`luban keys`: what is shown, what is kept, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from luban.cli.main import app
from luban.errors import ConfigError, StoreError
from luban.store.home import Home

PROJECT = "name: reviews\ndata: {source: reviews.csv, target: verdict}\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "luban.yaml").write_text(PROJECT, "utf-8")
    monkeypatch.setenv("LUBAN_ACTOR", "ada")
    return tmp_path


def run(folder: Path, *words: str) -> str:
    done = CliRunner().invoke(app, ["keys", *words, "--project", str(folder)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


def made(folder: Path, *words: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run(folder, "create", "--json", *words))
    return found


def test_a_key_is_shown_once(folder: Path) -> None:
    assert "no API key yet" in run(folder, "list")
    key = run(folder, "create", "--name", "shop").strip()
    assert key.startswith("luban_")
    shown = run(folder, "list")
    assert "shop" in shown
    assert key.split("_", 2)[2] not in shown


def test_all_that_a_key_may_be(folder: Path) -> None:
    words = (
        "--name",
        "app",
        "--role",
        "viewer",
        "--models",
        "b, a",
        "--expires",
        "never",
        "--rate",
        "5",
        "--burst",
        "9",
    )
    found = made(folder, *words)
    assert found.pop("key")
    listed = json.loads(run(folder, "list", "--json"))["keys"]
    assert listed == [found]
    assert {
        "role": "viewer",
        "models": "a, b",
        "expires": "never",
        "by": "ada",
        "state": "good",
    }.items() <= found.items()
    assert found["limit"] == "5/s, 9 at once"


def test_revoked(folder: Path) -> None:
    found = made(folder, "--name", "app")
    assert "revoked" in run(folder, "revoke", "app")
    assert json.loads(run(folder, "revoke", found["id"], "--json"))["state"] == "revoked"
    trail = [(entry.actor, entry.verb, entry.object) for entry in Home.open(folder).ledger.audit_entries()]
    assert trail == [("ada", "revoke", f"key {found['id']}"), ("ada", "create", f"key {found['id']}")]
    with pytest.raises(StoreError, match="no API key `nobody`"):
        run(folder, "revoke", "nobody")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--role", "root"], "`role` must be one of viewer"),
        (["--expires", "soon"], "`expires` must be a time"),
        (["--models", " ,"], "`models` must name a model"),
        (["--rate", "0"], "--rate"),
        (["--burst", "5"], "there is no `--rate`"),
    ],
)
def test_refused(folder: Path, words: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        run(folder, "create", "--name", "app", *words)
    assert "no API key yet" in run(folder, "list")


def test_a_model_that_nobody_released_is_said(folder: Path) -> None:
    done = CliRunner().invoke(app, ["keys", "create", "--name", "x", "--models", "revews", "--project", str(folder)])
    assert done.exit_code == 0
    assert "`revews`" in done.stderr
    assert "revews" not in done.stdout
