"""Pipelines of code hosts, against their schemas; and their commands, against the command line."""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import subprocess
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import typer.main
import yaml

from luban.catalog import TARGETS
from luban.cli.main import app
from luban.deploy.base import Deployment

from .test_kubernetes import plan

SCHEMAS = {"github": "github-workflows", "gitlab": "gitlab-ci"}


def schema(kind: str) -> Any:
    folder = resources.files("check_jsonschema") / "builtin_schemas" / "vendor"
    return json.loads((folder / f"{SCHEMAS[kind]}.json").read_text("utf-8"))


def pipeline(kind: str, found: Deployment, **settings: Any) -> dict[str, Any]:
    [file] = TARGETS.make(kind, settings).files(found)
    # YAML 1.1 takes `on` for true; the host does not.
    loaded = yaml.load(file.text, Loader=yaml.BaseLoader)
    assert isinstance(loaded, dict)
    return loaded


def typed(kind: str, found: Deployment, **settings: Any) -> dict[str, Any]:
    [file] = TARGETS.make(kind, settings).files(found)
    loaded: dict[Any, Any] = yaml.safe_load(file.text)
    return {"on" if name is True else name: value for name, value in loaded.items()}


def commands(kind: str, found: dict[str, Any]) -> list[str]:
    if kind == "github":
        steps = [step for job in found["jobs"].values() for step in job["steps"]]
        return [line for step in steps if "run" in step for line in step["run"].splitlines()]
    return [line for job in found.values() if isinstance(job, dict) for line in job.get("script", [])]


@pytest.mark.parametrize("kind", SCHEMAS)
@pytest.mark.parametrize("rollout", ["kubernetes", "none"])
def test_the_pipeline_is_one(kind: str, rollout: str) -> None:
    validator = jsonschema.validators.validator_for(schema(kind))(schema(kind))
    found = typed(kind, plan(), rollout=rollout)
    assert [error.message for error in validator.iter_errors(found)] == []
    broken = {**found, "jobs": {"x": {"steps": 1}}, "release": {"script": {"a": 1}}}
    assert list(validator.iter_errors(broken)), "the check can refuse"


@pytest.mark.parametrize("kind", SCHEMAS)
def test_every_luban_command_is_one_that_there_is(kind: str) -> None:
    found = [line for line in commands(kind, pipeline(kind, plan())) if line.startswith("luban ")]
    assert [line.split()[1] for line in found[:2]] == ["doctor", "evaluate"]
    assert any(line == "luban run" for line in found)
    root: Any = typer.main.get_command(app)
    for line in found:
        words = shlex.split(line.replace('"$IMAGE"', "x").replace("$IMAGE", "x"))[1:]
        command = root.commands[words[0]]
        if hasattr(command, "commands"):
            command = command.commands["TARGET"]
        assert command.make_context("luban", words[1:])


@pytest.mark.parametrize("kind", SCHEMAS)
def test_secrets_are_named_and_nothing_is_released_from_a_proposal(kind: str) -> None:
    found = pipeline(kind, plan())
    text = yaml.safe_dump(found)
    assert "KUBECONFIG" in text
    assert not re.search(r"(?i)password: *\S+", text.replace("--password-stdin", ""))
    if kind == "github":
        assert found["jobs"]["test"]["if"] == "github.event_name == 'pull_request'"
        assert "pull_request" in found["jobs"]["release"]["if"]
        assert found["permissions"] == {"contents": "read"}
        assert found["jobs"]["rollout"]["environment"] == "production"
        assert found["jobs"]["rollout"]["needs"] == "release"
    else:
        assert found["release"]["rules"] == [{"if": '$CI_COMMIT_BRANCH == "main"'}]
        assert found["stages"] == ["test", "release", "build", "rollout"]
        assert found["rollout"]["environment"] == {"name": "production"}


def test_actions_are_named_by_commit_and_caches_by_a_file_that_is_there() -> None:
    found = pipeline("github", plan())
    used = [step for job in found["jobs"].values() for step in job["steps"] if "uses" in step]
    assert all(re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", step["uses"]) for step in used)
    cached = [step["with"] for step in used if "cache" in step.get("with", {})]
    assert cached
    assert all(one["cache-dependency-path"] == "luban.yaml" for one in cached), "else it asks for a requirements.txt"
    assert all(step["with"]["persist-credentials"] == "false" for step in used if "checkout" in step["uses"])


@pytest.mark.parametrize("kind", SCHEMAS)
def test_the_cluster_s_key_is_for_its_owner_and_goes_with_the_shell(kind: str, tmp_path: Path) -> None:
    lines = [line for line in commands(kind, pipeline(kind, plan())) if not line.startswith(("luban", "python", "if "))]
    begin = next(number for number, line in enumerate(lines) if "mktemp" in line and "KUBECONFIG" in line)
    script = "\n".join((*lines[begin : begin + 3], 'stat -c %a "$KUBECONFIG"; cat "$KUBECONFIG"'))
    secret = base64.b64encode(b"cluster: mine").decode()
    done = subprocess.run(
        ["bash", "-e", "-c", script], env={**os.environ, "KUBECONFIG_DATA": secret, "TMPDIR": str(tmp_path)},
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.split("\n") == ["600", "cluster: mine"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["github", "gitlab"])
def test_a_luban_that_is_on_no_index(kind: str) -> None:
    deployment = replace(plan(), wheel="luban-0.1.0-py3-none-any.whl")
    target = TARGETS.resolve(kind)()
    (file,) = target.files(deployment)
    assert "luban[train,postgres]==" not in file.text
    assert './wheels/luban-0.1.0-py3-none-any.whl[train,postgres]"' in file.text
    assert "cp wheels/*.whl build/container/wheels/" in file.text
    assert "wheels/luban-0.1.0-py3-none-any.whl" in target.next_steps(deployment)[0]
