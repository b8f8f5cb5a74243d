"""What must not stand in files that are written."""

from __future__ import annotations

from dataclasses import replace

import pytest

from luban.catalog import TARGETS
from luban.errors import ConfigError
from luban.serve.config import ServeConfig

from .plans import plan


@pytest.mark.parametrize("kind", ["container", "compose", "vm"])
@pytest.mark.parametrize(
    "line", ["data: {source: {kind: sql, url: 'postgresql://me:hunter2@db/rows'}}", "a: s3://b/c?token=hunter2"]
)
def test_a_password_in_the_project_file_is_carried_nowhere(kind: str, line: str) -> None:
    deployment = replace(plan(model_from="project"), project=f"name: reviews\n{line}\n")
    with pytest.raises(ConfigError, match=r"Line 2 of luban\.yaml") as caught:
        TARGETS.resolve(kind)().files(deployment)
    assert "hunter2" not in str(caught.value)
    with_bundle = replace(plan(), project=deployment.project)
    assert not any("hunter2" in file.text for file in TARGETS.resolve(kind)().files(with_bundle))


def test_an_address_without_a_password_is_none() -> None:
    harmless = "data: {source: {kind: http, url: 'https://example.org:8443/rows.csv?page=2'}}  # me:you@home\n"
    assert TARGETS.resolve("container")().files(replace(plan(model_from="project"), project=harmless))


@pytest.mark.parametrize("url", ["redis://cache:6379/0?password=hunter2", "rediss://:hunter2@cache:6379"])
def test_a_password_in_an_address_of_the_server_is_refused(url: str) -> None:
    serve = ServeConfig.model_validate({"limits": {"redis": {"url": url}}})
    with pytest.raises(ConfigError, match="holds a secret"):
        _ = plan(serve).environment
