"""`luban jobs`: what stands in the ledger, cancelled and tried again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from luban.cli.main import app
from luban.engine.jobs import JobQueue, JobRunner
from luban.errors import ConfigError, DataError
from luban.store.home import Home

PROJECT = "name: reviews\ndata: {source: reviews.csv, target: verdict}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "luban.yaml").write_text(PROJECT, "utf-8")
    return tmp_path


@pytest.fixture
def queue(folder: Path) -> JobQueue:
    return JobQueue(Home.open(folder).ledger)


def run(folder: Path, *words: str) -> str:
    done = CliRunner().invoke(app, ["jobs", *words, "--project", str(folder)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


def test_listed_cancelled_and_tried_again(folder: Path, queue: JobQueue) -> None:
    assert "No job was handed in yet" in run(folder, "list")
    job = queue.submit("predict", {"tree": "x"}, "reviews", "ada")
    other = queue.submit("predict", {"tree": "y"}, "reviews", "bob")
    assert job.id[:12] in run(folder, "list")
    assert json.loads(run(folder, "list", "--json", "--status", "waiting"))["jobs"][1]["actor"] == "ada"
    assert "waiting" in run(folder, "show", job.id[:10])
    assert "cancelled" in run(folder, "cancel", job.id)
    assert "waiting" in run(folder, "retry", job.id)
    with pytest.raises(ConfigError, match="The job is waiting"):
        run(folder, "retry", other.id)


def test_why_it_failed_is_shown(folder: Path, queue: JobQueue) -> None:
    def work(job: object, claim: object) -> object:
        raise DataError("The file has no row.", "Give another.")

    job = queue.submit("predict", None)
    JobRunner(queue, {"predict": work}).run_one()
    assert "The file has no row." in run(folder, "show", job.id)
    assert "failed" in run(folder, "list")
    assert json.loads(run(folder, "show", job.id, "--json"))["status"] == "failed"


@pytest.mark.parametrize("words", [("show", "f00"), ("show", ""), ("list", "--status", "late")])
def test_what_is_not_there(folder: Path, queue: JobQueue, words: tuple[str, ...]) -> None:
    queue.submit("predict", None, id="a" * 32)
    with pytest.raises(ConfigError):
        run(folder, *words)
