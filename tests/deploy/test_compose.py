"""Compose: valid by the official schema, complete, and without a secret."""

from __future__ import annotations

import copy
import json
import re
import subprocess
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from pydantic import ValidationError

from luban.deploy.base import File
from luban.deploy.compose import CERTIFICATE, Compose
from luban.deploy.write import write
from luban.errors import ConfigError
from luban.serve.config import ServeConfig
from ports import free_ports

from .plans import plan
from .running import COMMANDS, certificate, program

CASES = [(mode, proxy) for mode in ("bundle", "project") for proxy in ("nginx", "haproxy")]


def files(settings: dict[str, Any] | None = None, **changes: Any) -> dict[str, File]:
    return {file.path: file for file in Compose(Compose.Config(**(settings or {}))).files(plan(**changes))}


def composed(settings: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(files(settings, **changes)["compose.yaml"].text)
    return found


@pytest.fixture(scope="module")
def schema() -> jsonschema.Draft202012Validator:
    """The Compose Specification's own schema, as a package carries it."""
    text = resources.files("check_jsonschema.builtin_schemas.vendor").joinpath("compose-spec.json").read_text("utf-8")
    return jsonschema.Draft202012Validator(json.loads(text))


@pytest.mark.parametrize(("mode", "proxy"), CASES)
@pytest.mark.parametrize("tls", [True, False])
def test_valid_by_the_official_schema(
    schema: jsonschema.Draft202012Validator, mode: str, proxy: str, tls: bool
) -> None:
    found = composed({"tls": tls}, model_from=mode, proxy=proxy)
    assert [error.message for error in schema.iter_errors(found)] == []
    broken = copy.deepcopy(found)
    broken["services"]["luban-1"]["read_onyl"] = True
    assert list(schema.iter_errors(broken)), "the schema can refuse"


@pytest.mark.parametrize(("mode", "proxy"), CASES)
def test_whatever_is_named_is_there(mode: str, proxy: str) -> None:
    found, written = composed(model_from=mode, proxy=proxy), files(model_from=mode, proxy=proxy)
    for name, service in found["services"].items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("./"):
                assert any(path == source[2:] or path.startswith(f"{source[2:]}/") for path in written), (name, source)
            else:
                assert source in found["volumes"], (name, source)
        assert set(service.get("secrets", [])) <= set(found["secrets"]), name
        assert set(service["networks"]) <= set(found["networks"]), name
        assert set(service.get("depends_on", [])) <= set(found["services"]), name
    assert all(secret["file"].startswith("./secrets/") for secret in found["secrets"].values())
    assert not any(path.startswith("secrets") for path in written)


def test_servers_are_locked_in() -> None:
    found = composed(replicas=3, memory_mb=300, cpus=0.5)
    servers = {name: one for name, one in found["services"].items() if name.startswith("luban-")}
    assert len(servers) == 3
    for one in servers.values():
        assert one["read_only"] is True
        assert one["cap_drop"] == ["ALL"]
        assert one["security_opt"] == ["no-new-privileges:true"]
        assert one["deploy"]["resources"]["limits"] == {"cpus": "0.5", "memory": "300M", "pids": 256}
        assert "ports" not in one
        assert list(one["networks"]) == ["servers"]
        assert "api_key" in one["secrets"]
    assert found["networks"]["servers"]["internal"] is True
    assert found["services"]["grafana"]["ports"] == ["127.0.0.1:3000:3000"]
    assert "ports" not in found["services"]["prometheus"]


def test_the_proxy_and_prometheus_ask_every_server() -> None:
    written, found = files(replicas=3), composed(replicas=3)
    servers = [one for name, one in found["services"].items() if name.startswith("luban-")]
    addresses = [one["networks"]["servers"]["ipv4_address"] for one in servers]
    assert len(set(addresses)) == 3
    assert len({one["networks"]["servers"]["mac_address"] for one in servers}) == 3
    assert re.findall(r"server ([\d.]+):8000", written["nginx.conf"].text) == addresses
    (scraped,) = yaml.safe_load(written["prometheus.yml"].text)["scrape_configs"]
    assert scraped["static_configs"][0]["targets"] == [f"{one}:8000" for one in addresses]
    grace = int(found["services"]["luban-1"]["stop_grace_period"].removesuffix("s"))
    assert grace > int(found["services"]["luban-1"]["environment"]["LUBAN__SERVE__DRAIN_S"])


def test_images_are_named_by_version() -> None:
    for proxy in ("nginx", "haproxy"):
        for name, service in composed(proxy=proxy)["services"].items():
            _, _, tag = service["image"].partition(":")
            assert re.match(r"v?\d|[0-9a-f]{12}-[0-9a-f]{8}$", tag), f"{name}: {service['image']}"


def test_dollars_in_settings_are_not_variables() -> None:
    written = Compose().files(plan(ServeConfig(alias="a$b")))
    found = yaml.safe_load(written[0].text)
    assert found["services"]["luban-1"]["environment"]["LUBAN__SERVE__ALIAS"] == '"a$$b"'


@pytest.mark.parametrize("proxy", ["nginx", "haproxy"])
def test_the_proxy_accepts_its_configuration(proxy: str, tmp_path: Path) -> None:
    program(proxy)
    cert, _ = certificate(tmp_path)
    port, plain = free_ports(2)
    text = files(proxy=proxy)["nginx.conf" if proxy == "nginx" else "haproxy.cfg"].text
    text = text.replace(CERTIFICATE, str(cert)).replace(":443 ", f":{port} ").replace(":80\n", f":{plain}\n")
    text = text.replace("listen 443 ", f"listen {port} ").replace("listen 80;", f"listen {plain};")
    text = text.replace("[::]:80;", f"[::]:{plain};").replace(":80 v4v6", f":{plain} v4v6")
    (tmp_path / "config").write_text(text, "utf-8")
    command = COMMANDS[proxy](tmp_path / "config", tmp_path)
    done = subprocess.run([*command, "-t" if proxy == "nginx" else "-c"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_docker_accepts_it(tmp_path: Path) -> None:
    docker = program("docker")
    if subprocess.run([docker, "compose", "version"], capture_output=True).returncode:
        pytest.skip("this `docker` has no compose plugin; the official schema is asked instead")
    write(tmp_path / "compose", list(files().values()))
    done = subprocess.run([docker, "compose", "config"], cwd=tmp_path / "compose", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def labels_of(**changes: Any) -> dict[str, str]:
    services = composed(changes.pop("settings", None), **changes)["services"]
    return {name: one["labels"]["luban.files"] for name, one in services.items() if "labels" in one}


def test_what_reads_a_file_that_changed_is_made_anew() -> None:
    """A container that reads a file by name goes on with the old one: only its own description makes Compose act."""
    before = labels_of()
    assert set(before) == {"proxy", "prometheus", "alertmanager", "grafana"}
    assert labels_of() == before
    changed = {name for name, one in labels_of(replicas=3).items() if one != before[name]}
    assert changed == {"proxy", "prometheus"}
    webhook = {"alerts": {"webhook": "https://hooks.example.org/x"}}
    assert {name for name, one in labels_of(settings=webhook).items() if one != before[name]} == {"alertmanager"}


def test_the_steps_done_twice_keep_the_key(tmp_path: Path) -> None:
    steps = [one for one in Compose().next_steps(plan()) if "openssl" in one or "mkdir" in one]
    for number in (1, 2):
        for step in steps:
            subprocess.run(["bash", "-c", step.replace("mkdir", "mkdir -p")], cwd=tmp_path, check=True, timeout=60)
        if number == 1:
            before = (tmp_path / "secrets/api_key").read_bytes()
    assert (tmp_path / "secrets/api_key").read_bytes() == before


def test_prometheus_accepts_its_files(tmp_path: Path) -> None:
    promtool = program("promtool")
    write(tmp_path / "compose", list(files().values()))
    done = subprocess.run(
        [promtool, "check", "config", tmp_path / "compose" / "prometheus.yml"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_networks() -> None:
    for wrong in ("8.8.8.0/24", "10.0.0.0/30", "fd00::/64", "nonsense"):
        with pytest.raises(ValidationError):
            Compose.Config(subnet=wrong)
    with pytest.raises(ConfigError, match="room"):
        Compose(Compose.Config(subnet="10.1.2.0/26")).files(plan(replicas=60))
    assert "10.1.2.11" in files({"subnet": "10.1.2.0/26"})["nginx.conf"].text


def test_the_model_s_name_becomes_a_project_s() -> None:
    (text,) = [f.text for f in Compose().files(replace(plan(), name="hotel.reviews")) if f.path == "compose.yaml"]
    assert yaml.safe_load(text)["name"] == "hotel-reviews"
