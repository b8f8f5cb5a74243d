"""Kubernetes: objects for `kubectl apply -k`, one file each.

Decided here: pods run as an ordinary user on a read-only disk, may be reached by what is named and reach nothing
beyond what they need; a pod is exchanged only once its successor is ready; requests and limits are equal, so
that a neighbour cannot take a server's time (`luban deploy plan` measures them). Secrets are named, never written.
Objects are built as data and written as YAML, so that no template can misindent them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from pydantic import Field

from luban.catalog import Config as Settings
from luban.catalog import fingerprint
from luban.deploy.base import Deployment, File, Target
from luban.deploy.proxies.front import behind_proxy, stop_s
from luban.deploy.templates import header
from luban.errors import ConfigError

Object = dict[str, Any]
PORT = 8000
USER = 10001
_NAME = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"


class Kubernetes(Target):
    """Deployment, Service, Ingress, HorizontalPodAutoscaler, PodDisruptionBudget, NetworkPolicy, ConfigMap."""

    class Config(Settings):
        """Where in a cluster, and how it scales."""

        namespace: str = Field("default", pattern=_NAME)
        """Namespace of all objects."""
        ingress_class: str = "nginx"
        """Class of the Ingress; "" writes none."""
        ingress_namespace: str = Field("ingress-nginx", pattern=_NAME)
        """Namespace that requests come from: the ingress controller's."""
        monitoring_namespace: str = Field("monitoring", pattern=_NAME)
        """Namespace that may read the figures: Prometheus'."""
        tls_secret: str = ""
        """Name of the Secret that holds the certificate; by default the model's name with `-tls`."""
        keys_secret: str = ""
        """Name of the Secret with `LUBAN_API_KEY` (and `LUBAN_LEDGER`, `LUBAN_STORE`); by default the model's name."""
        max_replicas: int = Field(10, ge=1)
        """Most servers that the autoscaler starts."""
        target_cpu_percent: int = Field(60, ge=1, le=100)
        """Use of processors at which it starts another."""
        egress_ports: tuple[int, ...] = (5432, 443)
        """Ports that servers may reach outside (ledger, object storage), where `model_from` is `project`."""

    def files(self, plan: Deployment) -> Sequence[File]:
        """One file an object, and kustomization.yaml."""
        refuse_tls(plan)
        objects = self.objects(plan)
        names = {f"{one['kind'].lower()}.yaml": one for one in objects}
        listed = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "namespace": self.config.namespace,
            "resources": list(names),
        }
        top = header("kubernetes", plan)
        return [File(path, written(one, top)) for path, one in {**names, "kustomization.yaml": listed}.items()]

    def objects(self, plan: Deployment) -> list[Object]:
        """All objects, in the order in which they should be made."""
        found = [
            self._object(plan, "v1", "ServiceAccount", automountServiceAccountToken=False),
            self._object(plan, "v1", "ConfigMap", data=self._environment(plan)),
            self._deployment(plan),
            self._service(plan),
            self._autoscaler(plan),
            self._budget(plan),
            self._network(plan),
        ]
        return [*found, self._ingress(plan)] if self.config.ingress_class else found

    def next_steps(self, plan: Deployment) -> Sequence[str]:
        """See Target."""
        secret, namespace = self._secret(plan), self.config.namespace
        more = " --from-literal=LUBAN_LEDGER=… --from-literal=LUBAN_STORE=…" if _follows(plan) else ""
        return [
            f"Build the image (luban deploy container) and push it as {plan.image}.",
            f"kubectl -n {namespace} create secret generic {secret} --from-literal=LUBAN_API_KEY=…{more}",
            "kubectl apply -k .",
            f"kubectl -n {namespace} rollout status deployment/{name_of(plan)}",
        ]

    def _secret(self, plan: Deployment) -> str:
        return self.config.keys_secret or name_of(plan)

    def _object(self, plan: Deployment, version: str, kind: str, **members: Any) -> Object:
        about = {"name": name_of(plan), "namespace": self.config.namespace, "labels": labels(plan)}
        return {"apiVersion": version, "kind": kind, "metadata": about, **members}

    def _environment(self, plan: Deployment) -> dict[str, str]:
        return {**behind_proxy(plan), "LUBAN__SERVE__HOST": "0.0.0.0", "LUBAN__SERVE__PORT": str(PORT)}

    def _deployment(self, plan: Deployment) -> Object:
        # Other settings are other pods: a ConfigMap alone would change nothing until a pod happens to end.
        stamp = {"luban/settings": fingerprint(self._environment(plan))[:16]}
        pod = {
            "metadata": {"labels": labels(plan), "annotations": stamp},
            "spec": {
                "serviceAccountName": name_of(plan),
                "automountServiceAccountToken": False,
                "terminationGracePeriodSeconds": grace_s(plan),
                "securityContext": pod_security(),
                "topologySpreadConstraints": [
                    {
                        "maxSkew": 1,
                        "topologyKey": "kubernetes.io/hostname",
                        "whenUnsatisfiable": "ScheduleAnyway",
                        "labelSelector": {"matchLabels": selector(plan)},
                    }
                ],
                "containers": [self._container(plan)],
                "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}}],
            },
        }
        # No `replicas`: their number is the autoscaler's to say, and each `kubectl apply` would take back what it said.
        spec = {
            "revisionHistoryLimit": 5,
            "selector": {"matchLabels": selector(plan)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": pod,
        }
        return self._object(plan, "apps/v1", "Deployment", spec=spec)

    def _container(self, plan: Deployment) -> Object:
        return {
            **container(plan, PORT),
            "envFrom": [{"configMapRef": {"name": name_of(plan)}}, {"secretRef": {"name": self._secret(plan)}}],
            "startupProbe": {**probe("/health"), "periodSeconds": 1, "failureThreshold": 120},
            "readinessProbe": {**probe("/ready"), "periodSeconds": 2, "failureThreshold": 2, "timeoutSeconds": 2},
            "livenessProbe": {**probe("/health"), "periodSeconds": 10, "failureThreshold": 3, "timeoutSeconds": 5},
        }

    def _service(self, plan: Deployment) -> Object:
        ports = [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}]
        return self._object(plan, "v1", "Service", spec={"selector": selector(plan), "ports": ports})

    def _autoscaler(self, plan: Deployment) -> Object:
        cpu = {"type": "Utilization", "averageUtilization": self.config.target_cpu_percent}
        spec = {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name_of(plan)},
            "minReplicas": plan.config.replicas,
            "maxReplicas": max(plan.config.replicas, self.config.max_replicas),
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": cpu}}],
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 300}},
        }
        return self._object(plan, "autoscaling/v2", "HorizontalPodAutoscaler", spec=spec)

    def _budget(self, plan: Deployment) -> Object:
        spec = {"maxUnavailable": 1, "selector": {"matchLabels": selector(plan)}}
        return self._object(plan, "policy/v1", "PodDisruptionBudget", spec=spec)

    def _network(self, plan: Deployment) -> Object:
        namespaces = [self.config.ingress_namespace, self.config.monitoring_namespace]
        spec: Object = {
            "podSelector": {"matchLabels": selector(plan)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": [_namespace(one) for one in namespaces], "ports": [_port(PORT)]}],
            "egress": [],
        }
        if _follows(plan):
            names = {"to": [_namespace("kube-system")], "ports": [_port(53), {**_port(53), "protocol": "UDP"}]}
            spec["egress"] = [names, {"ports": [_port(port) for port in self.config.egress_ports]}]
        return self._object(plan, "networking.k8s.io/v1", "NetworkPolicy", spec=spec)

    def _ingress(self, plan: Deployment) -> Object:
        backend = {"service": {"name": name_of(plan), "port": {"name": "http"}}}
        path = {"path": "/", "pathType": "Prefix", "backend": backend}
        secret = self.config.tls_secret or f"{name_of(plan)}-tls"
        found = self._object(
            plan,
            "networking.k8s.io/v1",
            "Ingress",
            spec={
                "ingressClassName": self.config.ingress_class,
                "tls": [{"hosts": [plan.config.host], "secretName": secret}],
                "rules": [{"host": plan.config.host, "http": {"paths": [path]}}],
            },
        )
        if self.config.ingress_class == "nginx":
            found["metadata"]["annotations"] = _nginx(plan)
        return found


def _nginx(plan: Deployment) -> dict[str, str]:
    """What the NGINX ingress controller is told; asking a model twice does no harm, so another server may be asked."""
    prefix = "nginx.ingress.kubernetes.io"
    largest = plan.serve.max_body_bytes
    if (
        _follows(plan) and plan.serve.jobs.enabled
    ):  # files of jobs; the servers hold all other bodies to their own limit
        largest = max(largest, int(plan.serve.jobs.max_file_mb * 2**20))
    return {
        f"{prefix}/proxy-body-size": str(largest),
        f"{prefix}/proxy-next-upstream": "error timeout http_502 http_503 non_idempotent",
        f"{prefix}/proxy-next-upstream-tries": "2",
        f"{prefix}/ssl-redirect": "true",
    }


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


def namespace_of(plan: Deployment) -> str:
    """The namespace that this target's settings name."""
    config = plan.config.settings_of("kubernetes")
    assert isinstance(config, Kubernetes.Config)
    return config.namespace


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
        "ports": [{"name": "http", "containerPort": port, "protocol": "TCP"}],
        "resources": {"requests": resources, "limits": dict(resources)},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }


def pod_security() -> Object:
    """An ordinary user, and the system calls that the runtime allows by default."""
    return {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "runAsGroup": USER,
        "fsGroup": USER,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


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


def _follows(plan: Deployment) -> bool:
    return plan.config.model_from == "project"


def _namespace(name: str) -> Object:
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}


def _port(number: int) -> Object:
    return {"port": number, "protocol": "TCP"}
