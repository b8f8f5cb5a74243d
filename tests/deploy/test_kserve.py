"""KServe's resources, against the fields that KServe itself states, and those of Kubernetes within them."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from luban.deploy.kserve import KServe
from luban.errors import ConfigError
from luban.serve.config import ServeConfig

from .test_kubernetes import plan

TYPES: dict[str, dict[str, str]] = json.loads(Path(__file__).with_name("kserve_fields.json").read_text())["types"]
PLAIN = {"str": str, "int": int, "bool": bool}


def objects(found: Any, **settings: Any) -> dict[str, dict[str, Any]]:
    files = KServe(KServe.Config(**settings)).files(found)
    return {file.path.removesuffix(".yaml"): yaml.safe_load(file.text) for file in files}


def faults(value: Any, type_: str, path: str = "") -> list[str]:
    """What in `value` is not of the type: fields that it does not have, and values of another kind."""
    if type_ in PLAIN:
        return [] if isinstance(value, PLAIN[type_]) else [f"{path}: not {type_}"]
    if (inner := re.fullmatch(r"list\[(.+)\]", type_)) is not None:
        if not isinstance(value, list):
            return [f"{path}: not a list"]
        return [fault for n, one in enumerate(value) for fault in faults(one, inner[1], f"{path}/{n}")]
    if type_ not in TYPES:
        return []  # Kubernetes' own, which its schema checks
    unknown = [f"{path}/{name}: unknown" for name in value if name not in TYPES[type_]]
    known = [(name, one) for name, one in value.items() if name in TYPES[type_]]
    return unknown + [fault for name, one in known for fault in faults(one, TYPES[type_][name], f"{path}/{name}")]


def check_pod(spec: dict[str, Any]) -> None:
    """The parts of a predictor that are a pod's, as a pod."""
    names = ("containers", "volumes", "securityContext", "terminationGracePeriodSeconds")
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "x"},
        "spec": {n: spec[n] for n in names if n in spec},
    }
    kubernetes_validate.validate(pod, "1.29", strict=True)


@pytest.mark.parametrize("model_from", ["bundle", "project"])
def test_a_model_in_the_image(model_from: str) -> None:
    found = objects(plan(model_from=model_from), canary_percent=10)
    assert list(found) == ["inferenceservice"]
    service = found["inferenceservice"]
    assert faults(service, "V1beta1InferenceService") == []
    predictor = service["spec"]["predictor"]
    check_pod(predictor)
    assert predictor["minReplicas"] == 0
    assert predictor["canaryTrafficPercent"] == 10
    [container] = predictor["containers"]
    environment = {one["name"]: one["value"] for one in container["env"]}
    assert environment["LUBAN__SERVE__PORT"] == str(container["ports"][0]["containerPort"])
    assert container["ports"][0]["name"] == "http1"


def test_a_model_in_a_store_has_a_runtime_that_opens_it() -> None:
    found = objects(plan(), storage_uri="s3://models/reviews/1")
    assert list(found) == ["servingruntime", "inferenceservice"]
    runtime, service = found.values()
    assert faults(runtime, "V1alpha1ServingRuntime") == []
    assert faults(service, "V1beta1InferenceService") == []
    check_pod(runtime["spec"])
    model = service["spec"]["predictor"]["model"]
    assert model["runtime"] == runtime["metadata"]["name"]
    assert model["modelFormat"]["name"] == runtime["spec"]["supportedModelFormats"][0]["name"]
    assert model["protocolVersion"] in runtime["spec"]["protocolVersions"]
    assert runtime["spec"]["containers"][0]["args"] == ["--bundle", "/mnt/models"]


KNATIVE_POD = {"serviceAccountName", "containers", "volumes", "imagePullSecrets", "enableServiceLinks"}
KNATIVE_CONTAINER = {"runAsNonRoot", "runAsUser", "runAsGroup", "allowPrivilegeEscalation", "readOnlyRootFilesystem"}
KNATIVE_CONTAINER |= {"capabilities", "seccompProfile"}
OF_KSERVE = {"minReplicas", "maxReplicas", "scaleMetric", "scaleTarget", "timeout", "canaryTrafficPercent"}


def test_knative_takes_every_field_of_the_pod() -> None:
    """Its webhook refuses the others ("must not set the field(s)"), unless an administrator switched them on."""
    predictor = objects(plan(), pull_secret="regcred", canary_percent=5)["inferenceservice"]["spec"]["predictor"]
    assert set(predictor) - OF_KSERVE <= KNATIVE_POD
    [container] = predictor["containers"]
    assert set(container["securityContext"]) <= KNATIVE_CONTAINER
    assert container["securityContext"]["runAsNonRoot"] is True
    assert len(container["ports"]) == 1
    assert container["readinessProbe"]["httpGet"]["port"] == container["ports"][0]["containerPort"]


def test_a_server_has_time_to_drain() -> None:
    """Knative gives a pod the request's time to end."""
    drained = replace(plan(), serve=ServeConfig(drain_s=90))
    assert objects(drained, timeout_s=10)["inferenceservice"]["spec"]["predictor"]["timeout"] > 90
    assert objects(plan(), timeout_s=300)["inferenceservice"]["spec"]["predictor"]["timeout"] == 300


def test_a_name_that_is_too_long_for_a_host_is_refused() -> None:
    with pytest.raises(ConfigError, match="at most 45 letters"):
        objects(replace(plan(), name="x" * 46))
    assert objects(replace(plan(), name="x" * 45))


def test_the_check_can_refuse() -> None:
    service = objects(plan())["inferenceservice"]
    service["spec"]["predictor"]["minReplica"] = 0
    service["spec"]["predictor"]["maxReplicas"] = "10"
    assert faults(service, "V1beta1InferenceService") == [
        "/spec/predictor/minReplica: unknown",
        "/spec/predictor/maxReplicas: not int",
    ]


def test_two_places_for_the_model_are_one_too_many() -> None:
    with pytest.raises(ConfigError, match="storage_uri"):
        objects(plan(model_from="project"), storage_uri="s3://models/reviews/1")
