"""Ray Serve: what is written is a configuration of Ray's, and the application answers on a local Ray."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError
from tests.serve.tiny import write_tiny

from luban.deploy.rayserve import Arguments, Ray
from ports import free_port

from .test_kubernetes import plan


def config(**settings: Any) -> dict[str, Any]:
    [file] = Ray().files(plan(**settings))
    loaded: dict[str, Any] = yaml.safe_load(file.text)
    return loaded


@pytest.mark.parametrize("model_from", ["bundle", "project"])
def test_ray_reads_the_configuration(model_from: str) -> None:
    schema = pytest.importorskip("ray.serve.schema")
    found = schema.ServeDeploySchema.model_validate(config(model_from=model_from))
    [application] = found.applications
    assert application.import_path == "luban.cli.ray:application"
    assert Arguments.model_validate(application.args)
    assert application.runtime_env["env_vars"] == {"LUBAN__SERVE__MAX_ROWS": "500"}
    [deployment] = application.deployments
    assert deployment.autoscaling_config["min_replicas"] == 2
    # The schema lets unknown names pass, so they are looked at here.
    written = config(model_from=model_from)
    assert written.keys() <= schema.ServeDeploySchema.model_fields.keys()
    assert written["applications"][0].keys() <= schema.ServeApplicationSchema.model_fields.keys()
    assert written["applications"][0]["deployments"][0].keys() <= schema.DeploymentSchema.model_fields.keys()
    written["applications"][0]["deployments"][0]["max_ongoing_requests"] = -1
    with pytest.raises(ValidationError):
        schema.ServeDeploySchema.model_validate(written)


def test_one_source_and_no_other() -> None:
    for wrong in ({}, {"bundle": "/a", "project": "/b"}):
        with pytest.raises(ValidationError, match="and not both"):
            Arguments.model_validate(wrong)


ON_RAY = """
import json, sys, urllib.request
import ray
from ray import serve
from luban.bundle.bundle import Bundle
from luban.cli.ray import application

folder, port = sys.argv[1], int(sys.argv[2])
ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR", _temp_dir=sys.argv[3])
serve.start(http_options={"host": "127.0.0.1", "port": port})
serve.run(application({"bundle": folder}), name="reviews")
rows = Bundle.load(folder).example_rows()
body = json.dumps({"rows": rows}).encode()
request = urllib.request.Request(
    f"http://127.0.0.1:{port}/v1/predict", body,
    {"Content-Type": "application/json", "Authorization": "Bearer " + "k" * 20},
)
over_ray = json.load(urllib.request.urlopen(request, timeout=30))["answers"]
assert over_ray == json.loads(json.dumps(Bundle.load(folder).predict(rows).rows())), over_ray
try:
    urllib.request.urlopen(urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/predict", body, {"Content-Type": "application/json"}))
except urllib.error.HTTPError as error:
    assert error.code == 401, error.code
    assert json.load(error)["type"] == "urn:luban:problem:no-key"
else:
    raise AssertionError("answered without a key")
serve.shutdown()
ray.shutdown()
print("ANSWERED")
"""


@pytest.mark.long
def test_the_application_answers_on_a_local_ray(tmp_path: Path) -> None:
    pytest.importorskip("ray.serve")
    write_tiny(tmp_path / "bundle")
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path),
        "LUBAN_API_KEY": "k" * 20,
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    # Ray's sockets need a short path.
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as place:
        command = [sys.executable, "-c", ON_RAY, str(tmp_path / "bundle"), str(free_port()), place]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert "ANSWERED" in done.stdout, done.stderr[-4000:]
