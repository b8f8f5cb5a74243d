"""`luban deploy TARGET` on a project: what it says, where it writes, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from luban.bundle.bundle import Bundle
from luban.bundle.write import with_reports
from luban.catalog import TARGETS
from luban.cli.main import app
from luban.errors import ConfigError, UnknownName
from luban.release.reports import PERSONAL_REPORTS
from serve.pictured import write_pictured
from serve.tiny import write_tiny

PROJECT = """\
name: reviews
owner: the team
purpose: Route unhappy guests.
data: {source: reviews.csv, target: label}
serve: {max_rows: 77}
deploy:
  host: models.example.org
  targets: [{kind: container, base: "python:3.11-slim"}, {kind: proxy, servers: ["10.0.0.1:8000"]}]
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "luban.yaml").write_text(PROJECT, "utf-8")
    write_tiny(tmp_path / "bundle")
    return tmp_path


def deploy(project: Path, *words: str) -> str:
    result = CliRunner().invoke(app, ["deploy", *words, "--project", str(project)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_a_target_with_its_bundle(project: Path) -> None:
    said = deploy(project, "container", "--bundle", str(project / "bundle"))
    folder = project / "deploy" / "container"
    assert "docker build" in said
    assert Bundle.load(folder / "bundle").identity == Bundle.load(project / "bundle").identity
    text = (folder / "Dockerfile").read_text("utf-8")
    assert "ARG BASE=python:3.11-slim\n" in text
    assert 'LUBAN__SERVE__MAX_ROWS="77"' in text
    assert "as they should be" in deploy(project, "container", "--bundle", str(project / "bundle"))


def test_a_bundle_of_pictures_gets_what_reads_them(project: Path, tmp_path: Path) -> None:
    write_pictured(tmp_path / "pictured")
    deploy(project, "container", "--bundle", str(tmp_path / "pictured"), "--to", str(tmp_path / "out"))
    assert "[image]" in (tmp_path / "out" / "requirements.txt").read_text("utf-8")
    assert "pillow==" in (tmp_path / "out" / "constraints.txt").read_text("utf-8")
    deploy(project, "container", "--bundle", str(project / "bundle"), "--to", str(tmp_path / "plain"))
    assert "[image]" not in (tmp_path / "plain" / "requirements.txt").read_text("utf-8")


def test_json(project: Path) -> None:
    said = json.loads(deploy(project, "proxy", "--json", "--to", str(project / "elsewhere")))
    assert said["written"] == ["luban.env", "nginx.conf"]
    assert said["folder"] == str(project / "elsewhere")
    assert "10.0.0.1:8000" in (project / "elsewhere" / "nginx.conf").read_text("utf-8")
    assert json.loads(deploy(project, "proxy", "--json", "--to", str(project / "elsewhere")))["written"] == []


def test_settings_on_the_command_line(project: Path) -> None:
    deploy(project, "proxy", "--set", "deploy.proxy=haproxy")
    assert (project / "deploy/proxy/haproxy.cfg").is_file()


def test_what_was_changed_by_hand_is_kept(project: Path) -> None:
    deploy(project, "proxy")
    path = project / "deploy/proxy/nginx.conf"
    path.write_text("mine")
    with pytest.raises(ConfigError, match=r"nginx\.conf"):
        deploy(project, "proxy", "--set", "deploy.host=other.example.org")
    assert path.read_text() == "mine"
    deploy(project, "proxy", "--force")
    assert path.with_name("nginx.conf.before").read_text() == "mine"


def test_help_lists_the_targets() -> None:
    said = CliRunner().invoke(app, ["deploy", "--help"], catch_exceptions=False).output
    assert "An image that answers" in said
    for target in TARGETS.own():
        assert f"\n  {target} " in said


def test_unknown_targets_name_the_nearest(project: Path) -> None:
    with pytest.raises(UnknownName, match="kubernetes"):
        deploy(project, "kubernets")


def test_nothing_released_is_said(project: Path) -> None:
    from luban.errors import LubanError

    with pytest.raises(LubanError, match="run `luban run`"):
        deploy(project, "container")


@pytest.mark.parametrize("target", list(TARGETS.own()))
def test_a_password_in_a_setting_is_refused_by_every_target(target: str, project: Path) -> None:
    bundle = ["--bundle", str(project / "bundle")]
    secret = "serve.limits.redis.url=redis://:hunter2hunter2@cache:6379/0"
    if target == "monitoring":
        deploy(project, target, "--set", secret, *bundle)  # hands no setting on
        assert not [
            path for path in (project / "deploy").rglob("*") if path.is_file() and b"hunter2" in path.read_bytes()
        ]
        return
    with pytest.raises(ConfigError, match=r"serve\.limits\.redis\.url.*secret") as caught:
        deploy(project, target, "--set", secret, *bundle)
    assert "LUBAN__SERVE__LIMITS__REDIS__URL" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert not (project / "deploy").exists()


def test_twice_in_the_list_is_refused(project: Path) -> None:
    with pytest.raises(ConfigError, match="twice"):
        deploy(project, "proxy", "--set", "deploy.targets=[vm, vm]")


def test_pages_that_show_rows_stay_here(project: Path) -> None:
    source, released = project / "bundle", project / "released"
    reports = {"report.html": b"figures", "report-with-rows.html": b"rows", "errors.json": b"[]", "ranges.json": b"{}"}
    with_reports(source, released, reports, {}, "", PERSONAL_REPORTS)
    deploy(project, "container", "--bundle", str(released))
    carried = project / "deploy/container/bundle"
    assert sorted(path.name for path in (carried / "reports").iterdir()) == ["ranges.json", "report.html"]
    assert Bundle.load(carried).identity == Bundle.load(released).identity
    assert "reports/ranges.json" in Bundle.load(carried).manifest.personal


def test_what_needs_the_ledger_is_said(project: Path) -> None:
    words = ("--bundle", str(project / "bundle"), "--set", "serve.review.below=0.5", "--json")
    (note,) = json.loads(deploy(project, "container", *words))["notes"]
    assert "serve.review" in note
    assert json.loads(deploy(project, "proxy", "--set", "serve.review.below=0.5", "--json"))["notes"] == []


def test_a_load_that_cannot_be_planned_for(project: Path) -> None:
    with pytest.raises(ConfigError, match=r"--rps.*greater than 0.*-3"):
        deploy(project, "plan", "--bundle", str(project / "bundle"), "--rps", "-3")
