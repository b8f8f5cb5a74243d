"""From served rows to a better model: reviews and feedback in the terminal, exported, and trained on."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from luban.cli.main import app
from luban.errors import DataError, LubanError
from luban.release.registry import Registry
from luban.serve.config import ServeConfig
from luban.serve.fleet.origins import AliasOrigin
from luban.serve.server import serving
from luban.store.home import Home

PROJECT = """\
name: reviews
owner: ada
purpose: Tell unhappy guests from happy ones.
data: {source: rows, target: verdict}
train: {models: [linear], num_threads: 1}
explain: {methods: []}
release: {gates: [parity]}
serve: {review: {below: 1.0}, records: {rows: true}}
"""
WORDS = {"good": "quiet clean friendly warm", "bad": "dirty loud rude cold"}


def write_rows(path: Path, count: int, seed: int = 0) -> None:
    """Rows in which words decide."""
    draw = random.Random(seed)
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "text", "nights", "verdict"])
        for number in range(count):
            verdict = draw.choice(list(WORDS))
            text = " ".join(draw.choices([*WORDS[verdict].split(), "room", "bed", "door"], k=5))
            rows.writerow([number, f"{text} {seed}-{number}", draw.randint(1, 9), verdict])


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a released model, which has answered rows and been told the truth."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "rows").mkdir()
    write_rows(folder / "rows" / "first.csv", 150)
    (folder / "luban.yaml").write_text(PROJECT, "utf-8")
    assert run(folder, "run").exit_code == 0
    with address_of(folder) as address:
        import httpx

        rows = [{"text": f"a flat of its own kind {n}", "nights": n + 0.0, "id": f"s{n}"} for n in range(6)]
        headers = {"x-request-id": "asked"}
        httpx.post(f"{address}/v1/predict", json={"rows": rows}, headers=headers).raise_for_status()
        told = [{"request_id": "asked", "position": n, "truth": "good"} for n in (4, 5)]
        httpx.post(f"{address}/v1/feedback", json={"feedback": told}).raise_for_status()
    return folder


def address_of(folder: Path) -> Any:
    home = Home.open(folder)
    origin = AliasOrigin("reviews", "champion", Registry(home.ledger, home.store).resolve, home.store.fetch)
    config = ServeConfig.model_validate({"port": 0, "review": {"below": 1.0}, "records": {"rows": True}})
    return serving(origin, config, {}, home)


def run(folder: Path, *words: str) -> Any:
    """A command's result; what it raised is raised, but for its own way to end."""
    found = CliRunner().invoke(app, [*words, "--project", str(folder)])
    if isinstance(found.exception, LubanError):
        raise found.exception
    assert found.exit_code == 0, found.output
    return found


def said(folder: Path, *words: str) -> list[dict[str, Any]]:
    """What a command says as JSON."""
    return [json.loads(line) for line in run(folder, *words, "--json").stdout.splitlines()]


def test_the_queue_in_the_terminal(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUBAN_ACTOR", "li")
    (listed,) = said(project, "reviews", "list")
    assert (listed["counts"]["open"], listed["counts"]["told"]) == (4, 2), "what feedback told waits for nobody"
    line = next(line for line in run(project, "reviews", "list").stdout.splitlines() if line.startswith("asked:0"))
    first = listed["reviews"][0]
    assert line.split()[1] == first["answer"]["label"], "what is answered stands first, not how sure it is"
    shown = run(project, "reviews", "show", "asked:0").stdout
    assert shown.index("text:") < shown.index("nights:") < shown.index("id:"), "a row stands as it came"
    (taken,) = said(project, "reviews", "take")
    assert (taken["id"], taken["taken_by"]) == ("asked:0", "li")
    monkeypatch.setenv("LUBAN_ACTOR", "bo")
    with pytest.raises(LubanError, match="is li's for"):
        run(project, "reviews", "decide", "asked:0", "good")
    assert said(project, "reviews", "take", "asked:2")[0]["taken_by"] == "bo"
    (done,) = said(project, "reviews", "decide", "asked:2", "bad")
    assert (done["status"], done["truth"], done["decided_by"]) == ("done", "bad", "bo")
    assert "truth: bad, by bo" in run(project, "reviews", "show", "asked:2").stdout
    assert said(project, "reviews", "drop", "asked:3")[0]["status"] == "dropped"
    with pytest.raises(LubanError, match="cannot be read"):
        run(project, "reviews", "decide", "asked:1", " ")
    with pytest.raises(LubanError, match="no row `nobody:0`"):
        run(project, "reviews", "show", "nobody:0")


def test_what_is_known(project: Path) -> None:
    (found,) = said(project, "feedback", "show")
    (known,) = found["known"]
    assert (known["version"], known["arm"], known["answers"]) == (1, "champion", 6)
    assert known["truths"] >= 2
    assert "champion" in run(project, "feedback", "show").stdout
    assert run(project, "feedback", "show", "--days", "0").stdout.startswith("No answer")


def test_exported_rows_have_the_source_s_shape(project: Path, tmp_path: Path) -> None:
    run(project, "reviews", "decide", "asked:2", "bad")
    (found,) = said(project, "reviews", "export", "--to", str(tmp_path / "reviews.csv"))
    assert (found["rows"], found["without_row"]) == (1, 0)
    with (tmp_path / "reviews.csv").open(encoding="utf-8") as file:
        assert list(csv.reader(file)) == [
            ["id", "text", "nights", "verdict"],
            ["s2", "a flat of its own kind 2", "2", "bad"],
        ]
    for name in ("all.jsonl", "all.parquet"):
        (found,) = said(project, "feedback", "export", "--to", str(tmp_path / name))
        assert found["rows"] == 3
    lines = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text("utf-8").splitlines()]
    assert [line["verdict"] for line in lines] == ["good", "good", "bad"]
    assert pq.read_table(tmp_path / "all.parquet").column_names == ["id", "text", "nights", "verdict"]
    trail = Home.open(project).ledger.audit_entries(3)
    assert {(entry.verb, entry.object) for entry in trail} == {
        ("export", "reviews of model reviews"),
        ("export", "feedback of model reviews"),
    }
    assert trail[-1].detail == {"rows": 1, "without_row": 0, "file": "reviews.csv"}


def test_an_export_beside_the_source_is_trained_on(project: Path) -> None:
    run(project, "feedback", "export", "--to", str(project / "rows" / "second.csv"))
    run(project, "run")
    (found,) = said(project, "models", "list")
    assert [version["version"] for version in found["versions"]] == [2, 1]
    with Home.open(project).ledger.reading() as tx:
        from sqlalchemy import select

        from luban.store.tables import datasets

        counts = sorted(tx.execute(select(datasets.c.rows)).scalars())
    assert counts[-1] == counts[0] + 3


def test_nothing_to_learn_from_is_said(tmp_path: Path, project: Path) -> None:
    from sqlalchemy import update

    from luban.store.tables import answers, reviews

    home = Home.open(project)
    with home.ledger.transaction() as tx:
        tx.execute(update(answers).values(row=None))
        tx.execute(update(reviews).values(request_id="elsewhere"))
    with pytest.raises(DataError, match="No truth of `reviews` has a row"):
        run(project, "feedback", "export", "--to", str(tmp_path / "none.csv"))
    assert not (tmp_path / "none.csv").exists()


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
