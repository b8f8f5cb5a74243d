"""Ray Serve: what is written is a configuration of Ray's, and the application answers on a local Ray."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import MutableMapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError
from tests.serve.deploying import House
from tests.serve.tiny import write_tiny

from luban.cli.ray import Replica
from luban.deploy.rayserve import Arguments, Ray
from luban.errors import ConfigError, ServeError
from luban.serve.config import ServeConfig
from luban.serve.http.tls import TlsConfig
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
    assert application.runtime_env["env_vars"] == {
        "LUBAN__SERVE__MAX_ROWS": "500",
        "LUBAN__SERVE__MODEL_THREADS": "1",
    }
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


def test_settings_of_a_port_of_its_own_are_named() -> None:
    serve = ServeConfig.model_validate({
        "workers": 4, "grpc": {"port": 9000}, "drain_s": 3, "limits": {"rows": {"rate_per_s": 5}},
    })  # fmt: skip
    notes = Ray().notes(replace(plan(), serve=serve))
    assert [note.split("`")[1] for note in notes[:3]] == ["serve.workers", "serve.grpc.port", "serve.drain_s"]
    assert "counted by each replica" in notes[3]
    assert len(notes) == 5
    with_tls = ServeConfig(tls=TlsConfig(cert="a", key="b"))
    with pytest.raises(ConfigError, match=r"serve\.tls"):
        Ray().files(replace(plan(), serve=with_tls))


async def _lived(replica: Replica) -> list[str]:
    told = ["lifespan.startup", "lifespan.shutdown"]
    sent: list[str] = []

    async def receive() -> dict[str, str]:
        return {"type": told.pop(0)}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message["type"])

    await replica({"type": "lifespan"}, receive, send)
    return sent


def test_a_replica_without_a_key_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray's proxies listen on all addresses, and whoever asks without a key may do everything."""
    write_tiny(tmp_path / "bundle")
    given = Arguments(bundle=str(tmp_path / "bundle"))
    with pytest.raises(ServeError, match="Without an API key"):
        Replica(given)
    monkeypatch.setenv("LUBAN__SERVE__NO_KEY", "true")
    assert asyncio.run(_lived(Replica(given))) == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


def test_a_replica_says_which_settings_it_does_not_follow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    write_tiny(tmp_path / "bundle")
    monkeypatch.setenv("LUBAN__SERVE__GRPC__PORT", "9000")
    monkeypatch.setenv("LUBAN__SERVE__WORKERS", "4")
    monkeypatch.setenv("LUBAN_API_KEY", "k" * 20)
    replica = Replica(Arguments(bundle=str(tmp_path / "bundle")))
    assert asyncio.run(_lived(replica)) == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    said = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    reasons = [line["luban.reason"] for line in said if line["message"] == "setting not followed"]
    assert [reason.split("`")[1] for reason in reasons] == ["serve.workers", "serve.grpc.port"]
    monkeypatch.setenv("LUBAN__SERVE__TLS__CERT", "a")
    monkeypatch.setenv("LUBAN__SERVE__TLS__KEY", "b")
    with pytest.raises(ConfigError, match=r"serve\.tls"):
        Replica(Arguments(bundle=str(tmp_path / "bundle")))


ON_RAY = """
import json, sys, time, urllib.request
import ray
from ray import serve
from luban.bundle.bundle import Bundle
from luban.cli.ray import application

folder, port = sys.argv[1], int(sys.argv[2])
ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR", _temp_dir=sys.argv[3])
serve.start(http_options={"host": "127.0.0.1", "port": port})
serve.run(application({"project": sys.argv[4]}), name="reviews")
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
def asked(path, body=None, type="application/json"):
    headers = {"Content-Type": type, "Authorization": "Bearer " + "k" * 20}
    url = f"http://127.0.0.1:{port}{path}"
    return urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=30).read()

# A replica has processes of its own that do jobs.
job = json.loads(asked("/v1/jobs", b"text,stars\\nvery good,5\\nvery bad,1\\n", "text/csv"))
deadline = time.monotonic() + 120
while job["status"] not in ("done", "failed"):
    assert time.monotonic() < deadline, job
    time.sleep(0.2)
    job = json.loads(asked(f"/v1/jobs/{job['id']}"))
assert job["status"] == "done", job
assert len(asked(job["result"]).splitlines()) == 3
serve.shutdown()
ray.shutdown()
print("ANSWERED")
"""


@pytest.mark.long
def test_the_application_answers_on_a_local_ray(tmp_path: Path) -> None:
    pytest.importorskip("ray.serve")
    house = House(tmp_path)
    house.release()
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path),
        "LUBAN_API_KEY": "k" * 20,
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    # Ray's sockets need a short path.
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as place:
        command = [sys.executable, "-c", ON_RAY, str(tmp_path / "bundle-1"), str(free_port()), place, str(tmp_path)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert "ANSWERED" in done.stdout, done.stderr[-4000:]
