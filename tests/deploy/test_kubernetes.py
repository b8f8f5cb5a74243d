"""Objects for Kubernetes, against the official schemas."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from luban.deploy.base import Deployment
from luban.deploy.config import DeployConfig
from luban.deploy.kserve import KServe
from luban.deploy.kubernetes import Kubernetes
from luban.deploy.pods import name_of
from luban.errors import ConfigError
from luban.serve.config import ServeConfig
from luban.serve.http.tls import TlsConfig

from .running import program

VERSIONS = ("1.29", "1.37")


def plan(**settings: Any) -> Deployment:
    return Deployment(
        name="hotel.reviews",
        owner="team",
        purpose="Route unhappy guests.",
        luban="0.1.0",
        python="3.11",
        serve=ServeConfig(max_rows=500),
        config=DeployConfig(host="reviews.example.com", image="registry.example.com/reviews", **settings),
        identity="ab" * 32,
    )


def objects(found: Deployment, **settings: Any) -> dict[str, dict[str, Any]]:
    files = Kubernetes(Kubernetes.Config(**settings)).files(found)
    return {file.path.removesuffix(".yaml"): yaml.safe_load(file.text) for file in files}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("model_from", ["bundle", "project"])
def test_every_object_is_valid_and_has_no_field_that_the_schema_does_not_know(version: str, model_from: str) -> None:
    found = objects(plan(model_from=model_from))
    listed = found.pop("kustomization")
    assert listed["resources"] == [f"{name}.yaml" for name in found]
    assert len(found) == 8
    for one in found.values():
        kubernetes_validate.validate(one, version, strict=True)


def test_the_schema_can_refuse() -> None:
    broken = objects(plan())["deployment"]
    broken["spec"]["template"]["spec"]["containers"][0]["imagePullPolcy"] = "Never"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, VERSIONS[0], strict=True)


def test_objects_find_each_other() -> None:
    found = objects(plan())
    pods = found["deployment"]["spec"]["template"]
    labels = pods["metadata"]["labels"]
    wanted = [
        found["deployment"]["spec"]["selector"]["matchLabels"],
        found["service"]["spec"]["selector"],
        found["poddisruptionbudget"]["spec"]["selector"]["matchLabels"],
        found["networkpolicy"]["spec"]["podSelector"]["matchLabels"],
    ]
    assert all(one.items() <= labels.items() for one in wanted)
    backend = found["ingress"]["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
    assert backend["name"] == found["service"]["metadata"]["name"] == "hotel-reviews"
    assert found["horizontalpodautoscaler"]["spec"]["scaleTargetRef"]["name"] == "hotel-reviews"
    container = pods["spec"]["containers"][0]
    assert container["envFrom"][0]["configMapRef"]["name"] == found["configmap"]["metadata"]["name"]
    assert found["configmap"]["data"]["LUBAN__SERVE__MAX_ROWS"] == "500"
    assert str(container["ports"][0]["containerPort"]) == found["configmap"]["data"]["LUBAN__SERVE__PORT"]
    assert container["image"].startswith("registry.example.com/reviews:" + "ab" * 6 + "-")


def test_what_differs_in_an_image_differs_in_its_tag() -> None:
    """A node that has an image of a name pulls no other (imagePullPolicy), and no pod is exchanged for the same one."""
    followed = plan(model_from="project")
    different = [
        plan(),
        replace(plan(), identity="cd" * 32),
        replace(plan(), luban="0.1.1"),
        replace(plan(), pins={"numpy": "2.4.7"}),
        replace(plan(), serve=ServeConfig(max_rows=501)),
        plan(packages=("s3fs",)),
        plan(targets=[{"kind": "container", "base": "python:3.12-slim"}]),
        replace(followed, identity=""),
        replace(followed, identity="", project="name: other\n"),
        replace(followed, identity="", luban="0.1.0+local"),
    ]
    images = [one.image for one in different]
    assert len(set(images)) == len(images)
    assert all(re.fullmatch(r"registry\.example\.com/reviews:[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", one) for one in images)
    assert replace(plan(), owner="another", purpose="other").image == plan().image
    assert plan(replicas=7, memory_mb=900).image == plan().image
    given = replace(plan(), config=DeployConfig(image="registry.example.com:5000/reviews:7"))
    assert given.image == "registry.example.com:5000/reviews:7"


def test_a_name_server_is_reached_where_anything_is() -> None:
    (names, _) = objects(plan(model_from="project"))["networkpolicy"]["spec"]["egress"]
    assert {"ipBlock": {"cidr": "169.254.20.10/32"}} in names["to"], "the cache on each node has no namespace"


def test_an_address_is_no_host_of_an_ingress() -> None:
    by_address = replace(plan(), config=DeployConfig(host="10.0.0.5"))
    with pytest.raises(ConfigError, match="must be a name"):
        Kubernetes().files(by_address)
    assert "ingress" not in objects(by_address, ingress_class="")


def test_figures_that_the_ingress_gives_to_all_are_said() -> None:
    shown = replace(plan(), serve=ServeConfig(open_metrics=True))
    assert any("open_metrics" in note for note in Kubernetes().notes(shown))
    assert not any("open_metrics" in note for note in Kubernetes().notes(plan()))
    assert not any("open_metrics" in note for note in Kubernetes(Kubernetes.Config(ingress_class="")).notes(shown))


def test_pods_have_no_more_rights_than_they_need() -> None:
    spec = objects(plan())["deployment"]["spec"]["template"]["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["containers"][0]["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert objects(plan())["networkpolicy"]["spec"]["egress"] == []


def test_requests_and_limits_are_those_of_the_settings() -> None:
    resources = objects(plan(cpus=1.5, memory_mb=300))["deployment"]["spec"]["template"]["spec"]["containers"][0][
        "resources"
    ]
    assert resources["requests"] == resources["limits"] == {"cpu": "1500m", "memory": "300Mi"}


def test_other_settings_are_other_pods() -> None:
    stamps = {
        objects(found)["deployment"]["spec"]["template"]["metadata"]["annotations"]["luban/settings"]
        for found in (plan(), plan())
    }
    assert len(stamps) == 1
    other = Deployment(**{**plan().__dict__, "serve": ServeConfig(max_rows=501)})
    assert objects(other)["deployment"]["spec"]["template"]["metadata"]["annotations"]["luban/settings"] not in stamps


def test_the_time_to_end_is_longer_than_that_to_finish() -> None:
    spec = objects(plan())["deployment"]["spec"]["template"]["spec"]
    assert spec["terminationGracePeriodSeconds"] > ServeConfig().stop_timeout_s


@given(st.from_regex(r"\A[a-z0-9][a-z0-9._-]{0,62}\Z"))
def test_every_model_has_a_name_that_kubernetes_takes(name: str) -> None:
    found = name_of(Deployment(**{**plan().__dict__, "name": name}))
    assert re.fullmatch(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?", found), found


def test_tls_ends_before_the_pods() -> None:
    tls = TlsConfig(cert="server.crt", key="server.key")
    for target in (Kubernetes(), KServe()):
        with pytest.raises(ConfigError, match=r"serve\.tls"):
            target.files(replace(plan(), serve=ServeConfig(tls=tls)))


def test_the_number_of_pods_is_the_autoscalers_to_say() -> None:
    (deployment,) = (one for one in Kubernetes().objects(plan(replicas=3)) if one["kind"] == "Deployment")
    (scaler,) = (one for one in Kubernetes().objects(plan(replicas=3)) if one["kind"] == "HorizontalPodAutoscaler")
    assert "replicas" not in deployment["spec"], "each `kubectl apply` would take back what the autoscaler said"
    assert scaler["spec"]["minReplicas"] == 3


def test_files_of_jobs_come_through() -> None:
    def body(deployment: Deployment) -> str:
        (ingress,) = (one for one in Kubernetes().objects(deployment) if one["kind"] == "Ingress")
        return str(ingress["metadata"]["annotations"]["nginx.ingress.kubernetes.io/proxy-body-size"])

    assert body(plan()) == str(8 * 2**20)
    assert body(plan(model_from="project")) == str(100 * 2**20)


def file_of(one: dict[str, Any]) -> tuple[str, str]:
    return one["kind"], one["metadata"]["name"]


@pytest.mark.parametrize("namespace", ["default", "models"])
def test_kubectl_puts_the_folder_together(namespace: str, tmp_path: Path) -> None:
    """The part of `kubectl apply -k` that needs no cluster."""
    kubectl = program("kubectl")
    grpc = replace(plan(), serve=ServeConfig.model_validate({"grpc": {"port": 9000}}))
    for file in Kubernetes(Kubernetes.Config(namespace=namespace, pull_secret="regcred")).files(grpc):
        (tmp_path / file.path).write_text(file.text, "utf-8")
    command = [kubectl, "kustomize", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env={"HOME": str(tmp_path)}, check=False)
    assert done.returncode == 0, done.stderr
    found = list(yaml.safe_load_all(done.stdout))
    wanted = Kubernetes(Kubernetes.Config(namespace=namespace, pull_secret="regcred")).objects(grpc)
    assert {one["metadata"]["namespace"] for one in found} == {namespace}
    assert {file_of(one): one for one in found} == {file_of(one): json.loads(json.dumps(one)) for one in wanted}
    (tmp_path / "service.yaml").unlink()
    assert subprocess.run(command, capture_output=True, env={"HOME": str(tmp_path)}, check=False).returncode != 0
