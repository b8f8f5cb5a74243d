"""Checks of targets: files that stay in their folder, are the same twice, say how they were made, hold no secret."""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from luban.deploy.base import Deployment, File
from luban.deploy.config import DeployConfig
from luban.deploy.write import LIST, write
from luban.serve.config import ServeConfig
from luban.serve.inference.grpc_config import GrpcConfig

COMMENTS = {".json": None, ".md": "<!--"}
"""How a kind of file begins a comment, where not by `#`; None where it can hold none."""
SECRET = re.compile(r"(?i)(password|secret|token|api_key)s?[\"']?\s*[:=]\s*[\"']?[A-Za-z0-9+/_-]{12,}[\"']?\s*$")


def plans() -> Iterator[Deployment]:
    """Deployments that differ in what targets branch on."""
    plan = Deployment(
        name="reviews",
        owner='the "A" team',
        purpose="Route unhappy guests to a person: $HOME, {{ x }} and 'quotes'.",
        luban="9.8.7",
        python="3.12",
        serve=ServeConfig(),
        config=DeployConfig(host="models.example.org"),
        identity="0123456789abcdef" * 4,
        pins={"numpy": "2.4.6"},
        project="name: reviews\ndata: {source: reviews.csv}\n",
    )
    yield plan
    yield replace(plan, serve=ServeConfig(max_rows=77, alias="challenger", grpc=GrpcConfig(port=9000)))
    for change in (
        {"host": "localhost"},
        {"model_from": "project"},
        {"proxy": "haproxy"},
        {"replicas": 3, "cpus": 2.0, "extras": ("postgres",)},
    ):
        yield replace(plan, config=plan.config.model_copy(update=change))


def _texts(component: Any) -> Iterator[tuple[Deployment, File]]:
    for plan in plans():
        for file in component().files(plan):
            yield plan, file


def writes_below_its_folder(component: Any) -> None:
    """Paths are relative, plain and differ; what is written is what was promised, and nothing else."""
    for plan in plans():
        files = component().files(plan)
        assert files, "a target writes at least one file"
        with tempfile.TemporaryDirectory() as place:
            write(Path(place) / "inner", files)
            found = {p.relative_to(Path(place) / "inner").as_posix() for p in Path(place).rglob("*") if p.is_file()}
            assert found == {LIST, *(file.path for file in files)}


def twice_is_the_same(component: Any) -> None:
    """The same facts give the same bytes, and asking changes nothing."""
    for plan in plans():
        target = component()
        assert list(target.files(plan)) == list(target.files(plan)) == list(component().files(plan))
        assert list(target.next_steps(plan)) == list(target.next_steps(plan))


def says_how_it_was_made(component: Any) -> None:
    """Whatever can hold a comment begins with the command that wrote it, after what must stand first."""
    for plan, file in _texts(component):
        mark = COMMENTS.get(Path(file.path).suffix, "#")
        if mark is not None:
            head = "\n".join(file.text.splitlines()[:4])
            said = f"{mark} Written by `luban deploy {component.kind}`, Luban {plan.luban}, for the model {plan.name}."
            assert said in head, f"{file.path} must begin with: {said}"
        assert file.text.endswith("\n"), f"{file.path} must end with a line's end"
        assert "\n\n\n" not in file.text, f"{file.path} has empty lines that a template left"


def holds_no_path_of_this_machine(component: Any) -> None:
    """Nothing in a file depends on where it was written."""
    places = {str(Path.home()), str(Path.cwd()), sys.prefix, tempfile.gettempdir() + "/"} - {"/", "/tmp/", "/root"}
    for _, file in _texts(component):
        found = [place for place in places if place in file.text]
        assert not found, f"{file.path} names {found}"


def holds_no_secret(component: Any) -> None:
    """No line gives a password, token or key a value; secrets are named by file or variable."""
    for _, file in _texts(component):
        found = [line for line in file.text.splitlines() if SECRET.search(line)]
        assert not found, f"{file.path} seems to hold a secret: {found}"


def hands_settings_on(component: Any) -> None:
    """A setting of the server that is no default reaches the servers."""
    plan = replace(next(plans()), serve=ServeConfig(max_rows=77))
    text = "\n".join(file.text for file in component().files(plan))
    assert re.search(r"LUBAN__SERVE__MAX_ROWS\W+(value:)?\W{0,3}77\b", text), (
        "`serve.max_rows` must stand in the files as the variable LUBAN__SERVE__MAX_ROWS"
    )


CHECKS = (
    writes_below_its_folder,
    twice_is_the_same,
    says_how_it_was_made,
    holds_no_path_of_this_machine,
    holds_no_secret,
    hands_settings_on,
)
