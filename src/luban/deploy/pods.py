"""What objects in a cluster have in common: names, labels, the server's container, and how they are written.

Objects are data, written as YAML, so that no template can misindent them. Knows no target.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import yaml

from luban.deploy.base import Deployment
from luban.deploy.proxies.front import stop_s
from luban.errors import ConfigError

Object = dict[str, Any]
PORT = 8000
USER = 10001


def refuse_tls(plan: Deployment) -> None:
    """Raise ConfigError where the server itself would speak TLS: inside a cluster all ask it in plain HTTP."""
    if plan.serve.tls is not None:
        raise ConfigError(
            "`serve.tls` must not be set here: TLS ends before the pods, and probes ask them in plain HTTP.",
            "Take it out of luban.yaml; name the certificate's Secret in the target's settings.",
        )


def name_of(plan: Deployment) -> str:
    """The model's name as Kubernetes takes it (RFC 1035 labels: no dots or underscores, a letter first)."""
    plain = plan.name.replace(".", "-").replace("_", "-").strip("-")
    return (plain if plain[:1].isalpha() else f"m-{plain}")[:63].strip("-")


def selector(plan: Deployment) -> dict[str, str]:
    """The labels by which pods are found; they never change."""
    return {"app.kubernetes.io/name": name_of(plan), "app.kubernetes.io/component": "model-server"}


def labels(plan: Deployment) -> dict[str, str]:
    """All labels of an object."""
    more = {"app.kubernetes.io/managed-by": "luban"}
    return {**selector(plan), **more, **({"luban/identity": plan.identity[:12]} if plan.identity else {})}


def container(plan: Deployment, port: int) -> Object:
    """The server's container, without environment and probes; requests and limits are equal."""
    resources = {"cpu": f"{round(plan.config.cpus * 1000)}m", "memory": f"{plan.config.memory_mb}Mi"}
    return {
        "name": "luban",
        "image": plan.image,
        "imagePullPolicy": "IfNotPresent",
        "ports": ports(plan, port),
        "resources": {"requests": resources, "limits": dict(resources)},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }


def container_security() -> Object:
    """An ordinary user, and the system calls that the runtime allows by default."""
    return {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "runAsGroup": USER,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def pod_security() -> Object:
    """The same for a pod, whose volumes belong to that user's group."""
    return {**container_security(), "fsGroup": USER}


def probe(path: str) -> Object:
    """A probe over HTTP."""
    return {"httpGet": {"path": path, "port": "http"}}


def grace_s(plan: Deployment) -> int:
    """Seconds between SIGTERM and SIGKILL: what draining and the last requests may take, and some more."""
    return stop_s(plan) + 5


def written(one: Mapping[str, Any], top: str) -> str:
    """An object as YAML. Texts that YAML would read as something else get quotes."""
    plain = json.loads(json.dumps(one))  # a copy of every part: no anchors for those that are used twice
    return f"{top}\n{yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=120)}"


def ports(plan: Deployment, http: int) -> list[Object]:
    """A container's ports."""
    found = [{"name": "http", "containerPort": http, "protocol": "TCP"}]
    if plan.serve.grpc.port is not None:
        found.append({"name": "grpc", "containerPort": plan.serve.grpc.port, "protocol": "TCP"})
    return found


def image_steps(plan: Deployment) -> tuple[str, ...]:
    """How the image gets where a cluster takes it from."""
    return (f"Build the image (luban deploy container) and push it as {plan.image}.",)


def image_notes(plan: Deployment) -> tuple[str, ...]:
    """What a cluster cannot take from anywhere."""
    if "/" in plan.image:
        return ()
    return (f"`deploy.image` names no registry, so no cluster knows where {plan.image} is. Set it to where you push.",)


def key_step(plan: Deployment, namespace: str, secret: str) -> str:
    """The command that makes the Secret which servers read."""
    more = " --from-literal=LUBAN_LEDGER=… --from-literal=LUBAN_STORE=…" if follows(plan) else ""
    key = "--from-literal=LUBAN_API_KEY=$(openssl rand -hex 32)"
    return f"kubectl -n {namespace} create secret generic {secret} {key}{more}"


def pull_secrets(name: str) -> Object:
    """How images of a private registry are pulled; nothing where it is public."""
    return {"imagePullSecrets": [{"name": name}]} if name else {}


def follows(plan: Deployment) -> bool:
    """Whether servers follow a ledger and a store."""
    return plan.config.model_from == "project"


def object_of(plan: Deployment, namespace: str, version: str, kind: str, **members: Any) -> Object:
    """One object of the deployment."""
    about = {"name": name_of(plan), "namespace": namespace, "labels": labels(plan)}
    return {"apiVersion": version, "kind": kind, "metadata": about, **members}
