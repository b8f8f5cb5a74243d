"""What settings of servers need: extras in the image, ports outside, and a word where something is not followed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from luban.catalog import TARGETS
from luban.deploy.base import Deployment
from luban.deploy.container import Container
from luban.deploy.kubernetes import Kubernetes
from luban.deploy.needs import extras_of, ports_outside
from luban.deploy.pins import pins
from luban.deploy.proxies.target import Proxy
from luban.serve.config import ServeConfig
from serve.tiny import write_tiny

from .plans import plan

SOURCES = Path(__file__).parents[2] / "src/luban"
NEEDY: dict[str, dict[str, Any]] = {
    "grpc": {"grpc": {"port": 9000}},
    "oidc": {"auth": {"oidc": {"issuer": "https://id.example.org", "audience": "a", "roles": {"a": "caller"}}}},
    "otel": {"trace": {"endpoint": "http://collector:4318"}},
    "redis": {"limits": {"requests": {"rate_per_s": 5}, "redis": {"url": "redis://cache:6380/0"}}},
}
EVERYTHING = {name: value for one in NEEDY.values() for name, value in one.items()}


def deployment(name: str, **settings: Any) -> Deployment:
    return plan(ServeConfig.model_validate(NEEDY.get(name, {})), **settings)


def requirements(found: Deployment) -> list[str]:
    (text,) = (file.text for file in Container().files(found) if file.path == "requirements.txt")
    return [line for line in text.splitlines() if not line.startswith("#")]


@pytest.mark.parametrize("name", NEEDY)
def test_the_image_has_the_extra_that_a_setting_asks_for(name: str) -> None:
    assert requirements(deployment(name)) == [f"luban[{name}]==0.1.0"]
    assert requirements(deployment(name, extras=(name, "tune"))) == [f"luban[{name},tune]==0.1.0"]
    assert requirements(plan()) == ["luban==0.1.0"]


def test_servers_that_follow_a_ledger_can_read_one_in_postgresql() -> None:
    assert requirements(plan(model_from="project")) == ["luban[postgres]==0.1.0"]


def test_other_packages_are_installed_too() -> None:
    found = plan(packages=("s3fs", "reviews-plugin[zh]>=1.2,<2"))
    assert requirements(found) == ["luban==0.1.0", "s3fs", "reviews-plugin[zh]>=1.2,<2"]
    for wrong in ("--index-url=x", "a b", "git+https://example.org/x", ""):
        with pytest.raises(ValueError, match="packages"):
            plan(packages=(wrong,))


def test_every_extra_that_servers_can_need_follows_from_a_setting() -> None:
    """What the sources of servers, store and guards load by `need` is what `extras_of` knows."""
    loaded = {
        extra
        for folder in ("serve", "store")
        for path in (SOURCES / folder).rglob("*.py")
        for extra in re.findall(r'need\("[a-z_.]+", "([a-z]+)"\)', path.read_text("utf-8"))
    }
    whole = plan(ServeConfig.model_validate(EVERYTHING), model_from="project")
    assert set(whole.extras) == loaded


STARTED = """
import importlib.abc, importlib.metadata, sys
allowed = set(sys.argv[3].split(","))
brings = importlib.metadata.packages_distributions()

class OnlyWhatTheImageHas(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        by = {one.lower().replace("_", "-").replace(".", "-") for one in brings.get(name.split(".")[0], [])}
        if by and not by & allowed:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name.split(".")[0])

sys.meta_path.insert(0, OnlyWhatTheImageHas())
import json
from pathlib import Path
from luban.errors import MissingExtra
from luban.serve.config import ServeConfig
from luban.serve.fleet.origins import FolderOrigin
from luban.serve.server import serving

try:
    with serving(FolderOrigin(Path(sys.argv[1])), ServeConfig.model_validate_json(sys.argv[2]), {}):
        print("STARTED")
except MissingExtra as error:
    print(error.hint)
"""


def started(bundle: Path, serve: dict[str, Any], extras: tuple[str, ...]) -> str:
    """What is said by a server that can load the libraries which an image with these extras has, and no others."""
    config = ServeConfig.model_validate({**serve, "port": 0})
    words = [sys.executable, "-c", STARTED, str(bundle), config.model_dump_json(), ",".join(["luban", *pins(extras)])]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("needs") / "bundle"
    write_tiny(folder)
    return folder


@pytest.mark.parametrize("name", NEEDY)
def test_a_server_starts_with_what_its_image_has(name: str, bundle: Path) -> None:
    from ports import free_port

    serve = {"grpc": {"port": free_port()}} if name == "grpc" else NEEDY[name]
    assert started(bundle, serve, ()) == f'Run: pip install "luban[{name}]"', "without the extra it could not"
    assert started(bundle, serve, extras_of(ServeConfig.model_validate(serve), plan().config)) == "STARTED"


def test_ports_outside_follow_from_the_settings() -> None:
    assert ports_outside(ServeConfig(), plan().config) == ()
    whole = ServeConfig.model_validate(EVERYTHING)
    assert ports_outside(whole, plan().config) == (443, 4318, 6380)
    assert ports_outside(whole, plan(model_from="project").config) == (443, 4318, 5432, 6380)
    near = ServeConfig.model_validate({"trace": {"endpoint": "http://127.0.0.1:4318"}})
    assert ports_outside(near, plan().config) == ()


def egress(found: Deployment, **settings: Any) -> list[int]:
    objects = {one["kind"]: one for one in Kubernetes(Kubernetes.Config(**settings)).objects(found)}
    rules = objects["NetworkPolicy"]["spec"]["egress"]
    return [port["port"] for rule in rules if "to" not in rule for port in rule["ports"]]


def test_pods_reach_what_their_settings_name_and_nothing_else() -> None:
    assert egress(plan()) == []
    assert egress(deployment("redis")) == [6380]
    assert egress(plan(model_from="project")) == [443, 5432]
    assert egress(plan(model_from="project"), egress_ports=(6432,)) == [443, 5432, 6432]


def test_grpc_is_reached_through_the_cluster_and_the_image() -> None:
    found = {file.path: file for file in Kubernetes().files(deployment("grpc"))}
    (grpc,) = yaml.safe_load(found["ingress-grpc.yaml"].text)["spec"]["rules"]
    (path,) = grpc["http"]["paths"]
    assert path["path"] == "/inference.GRPCInferenceService"
    ports = {one["name"]: one for one in yaml.safe_load(found["service.yaml"].text)["spec"]["ports"]}
    assert path["backend"]["service"]["port"]["name"] in ports
    pod = yaml.safe_load(found["deployment.yaml"].text)["spec"]["template"]["spec"]["containers"][0]
    assert {"name": ports["grpc"]["targetPort"], "containerPort": 9000, "protocol": "TCP"} in pod["ports"]
    allowed = yaml.safe_load(found["networkpolicy.yaml"].text)["spec"]["ingress"][0]["ports"]
    assert [one["port"] for one in allowed] == [8000, 9000]
    assert "ingress-grpc.yaml" in yaml.safe_load(found["kustomization.yaml"].text)["resources"]
    image = {file.path: file.text for file in Container().files(deployment("grpc"))}
    assert "\nEXPOSE 8000 9000\n" in image["Dockerfile"]


@pytest.mark.parametrize("kind", ["kubernetes", "kserve"])
def test_a_cluster_is_told_where_the_image_is_and_how_it_is_pulled(kind: str) -> None:
    cls = TARGETS.resolve(kind)
    assert any("`deploy.image` names no registry" in note for note in cls().notes(plan()))
    assert not any("deploy.image" in note for note in cls().notes(plan(image="registry.example.org/reviews")))
    texts = [file.text for file in cls(cls.Config(pull_secret="regcred")).files(plan())]
    assert any("imagePullSecrets:\n" in text and "name: regcred" in text for text in texts)
    assert not any("imagePullSecrets" in file.text for file in cls().files(plan()))


HOSTED = {"compose", "vm", "proxy", "kubernetes"}


@pytest.mark.parametrize("kind", list(TARGETS.own()))
def test_a_host_that_is_not_set_is_said(kind: str) -> None:
    target, local = TARGETS.resolve(kind)(), plan(host="localhost")
    assert len([note for note in target.notes(local) if "`deploy.host` is not set" in note]) == (kind in HOSTED)
    assert not [note for note in target.notes(plan()) if "deploy.host" in note]
    said = [file.path for file in target.files(local) if "`deploy.host` is not set" in file.text]
    assert bool(said) == (kind in HOSTED), said
    assert not [file.path for file in target.files(plan()) if "is not set" in file.text]
    if kind == "vm":
        assert "README.md" in said


def test_what_a_target_cannot_follow_is_said() -> None:
    grpc = deployment("grpc", image="registry.example.org/reviews")
    for kind in ("kserve", "ray"):
        note = TARGETS.resolve(kind)().notes(grpc)[0]
        assert note.startswith("`serve.grpc.port` has no effect here: ")
    (note,) = Kubernetes(Kubernetes.Config(ingress_class="traefik")).notes(grpc)
    assert "port `grpc` of the Service" in note
    assert Kubernetes().notes(grpc) == ()
    for kind in ("compose", "vm", "proxy"):
        cls = TARGETS.resolve(kind)
        more = {"grpc_servers": ("a:1", "b:1")} if kind == "proxy" else {}
        assert [note for note in cls(cls.Config(tls=False, **more)).notes(grpc) if "gRPC does not pass" in note]
        assert not [note for note in cls(cls.Config(**more)).notes(grpc) if "gRPC" in note]
    (note,) = Proxy().notes(grpc)
    assert "grpc_servers" in note
