"""Pipelines of code hosts, against their schemas; and their commands, against the command line."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from importlib import resources
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


@pytest.mark.parametrize("kind", ["github", "gitlab"])
def test_a_luban_that_is_on_no_index(kind: str) -> None:
    deployment = replace(plan(), wheel="luban-0.1.0-py3-none-any.whl")
    target = TARGETS.resolve(kind)()
    (file,) = target.files(deployment)
    assert "luban[train,postgres]==" not in file.text
    assert './wheels/luban-0.1.0-py3-none-any.whl[train,postgres]"' in file.text
    assert "cp wheels/*.whl build/container/wheels/" in file.text
    assert "wheels/luban-0.1.0-py3-none-any.whl" in target.next_steps(deployment)[0]
