"""Kubernetes: objects for `kubectl apply -k`, one file each.

Decided here: pods run as an ordinary user on a read-only disk, may be reached by what is named and reach nothing
beyond what they need; a pod is exchanged only once its successor is ready; requests and limits are equal, so
that a neighbour cannot take a server's time (`luban deploy plan` measures them). Secrets are named, never written.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from luban.catalog import Config as Settings
from luban.catalog import fingerprint
from luban.deploy.base import Deployment, File, Target, is_address
from luban.deploy.pods import (
    PORT,
    Object,
    container,
    grace_s,
    image_notes,
    image_steps,
    key_step,
    labels,
    name_of,
    object_of,
    pod_security,
    probe,
    pull_secrets,
    refuse_tls,
    selector,
    written,
)
from luban.deploy.proxies.front import behind_proxy
from luban.deploy.routes import NGINX, grpc_ingress, ingress, network, service
from luban.deploy.templates import header, host_comment
from luban.errors import ConfigError

_NAME = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
_UNROUTED = (
    "No Ingress is written for `serve.grpc.port`, as only the class nginx says how: route it to the port `grpc` of the "
    "Service."
)

_SHOWN = (
    "`serve.open_metrics` is set, and the Ingress passes on /metrics as all else: whoever reaches the model may "
    "read its figures. Give Prometheus a key with the role viewer instead."
)


class Kubernetes(Target):
    """Deployment, Service, Ingress, HorizontalPodAutoscaler, PodDisruptionBudget, NetworkPolicy, ConfigMap."""

    names_host = True

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
        pull_secret: str = ""
        """Name of the Secret with which the image is pulled from a private registry."""
        max_replicas: int = Field(10, ge=1)
        """Most servers that the autoscaler starts."""
        target_cpu_percent: int = Field(60, ge=1, le=100)
        """Use of processors at which it starts another."""
        egress_ports: tuple[int, ...] = ()
        """Ports that servers may reach outside, beside those of what settings name: ledger and store (5432, 443),
        Redis, the provider of tokens, the collector of traces."""

    def files(self, plan: Deployment) -> Sequence[File]:
        """One file an object, and kustomization.yaml."""
        refuse_tls(plan)
        if self.config.ingress_class and is_address(plan.config.host):
            raise ConfigError(
                f"`deploy.host` must be a name for an Ingress, but got {plan.config.host}.",
                'Give the address a name, or set `ingress_class` of the target kubernetes to "".',
            )
        objects = self.objects(plan)
        names = {f"{one['kind'].lower()}{one['metadata']['name'][len(name_of(plan)) :]}.yaml": one for one in objects}
        listed = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "namespace": self.config.namespace,
            "resources": list(names),
        }
        top = header("kubernetes", plan)
        told = {"Ingress": top + host_comment(plan)}
        return [
            File(path, written(one, told.get(one["kind"], top)))
            for path, one in {**names, "kustomization.yaml": listed}.items()
        ]

    def objects(self, plan: Deployment) -> list[Object]:
        """All objects, in the order in which they should be made."""
        namespace = self.config.namespace
        found = [
            self._object(
                plan,
                "v1",
                "ServiceAccount",
                automountServiceAccountToken=False,
                **pull_secrets(self.config.pull_secret),
            ),
            self._object(plan, "v1", "ConfigMap", data=self._environment(plan)),
            self._deployment(plan),
            service(plan, namespace),
            self._autoscaler(plan),
            self._budget(plan),
            network(plan, namespace, self._namespaces(), self.config.egress_ports),
        ]
        secret = self._tls_secret(plan)
        if self.config.ingress_class:
            found.append(ingress(plan, namespace, self.config.ingress_class, secret))
        if self._routes_grpc(plan):
            found.append(grpc_ingress(plan, namespace, secret))
        return found

    def notes(self, plan: Deployment) -> Sequence[str]:
        """See Target."""
        unrouted = plan.serve.grpc.port is not None and not self._routes_grpc(plan)
        shown = plan.serve.open_metrics and bool(self.config.ingress_class)
        more = (*((_UNROUTED,) if unrouted else ()), *((_SHOWN,) if shown else ()))
        return (*super().notes(plan), *image_notes(plan), *more)

    def _routes_grpc(self, plan: Deployment) -> bool:
        return plan.serve.grpc.port is not None and self.config.ingress_class == NGINX

    def _tls_secret(self, plan: Deployment) -> str:
        return self.config.tls_secret or f"{name_of(plan)}-tls"

    def _namespaces(self) -> tuple[str, str]:
        return self.config.ingress_namespace, self.config.monitoring_namespace

    def next_steps(self, plan: Deployment) -> Sequence[str]:
        """See Target."""
        secret, namespace = self._secret(plan), self.config.namespace
        tls = f"kubectl -n {namespace} create secret tls {self._tls_secret(plan)} --cert CERTIFICATE --key PRIVATE-KEY"
        return [
            *image_steps(plan),
            key_step(plan, namespace, secret),
            *(
                (f"{tls}          # of {plan.config.host}; or leave it to cert-manager",)
                if self.config.ingress_class
                else ()
            ),
            "kubectl apply -k .",
            f"kubectl -n {namespace} rollout status deployment/{name_of(plan)}",
        ]

    def _secret(self, plan: Deployment) -> str:
        return self.config.keys_secret or name_of(plan)

    def _object(self, plan: Deployment, version: str, kind: str, **members: Any) -> Object:
        return object_of(plan, self.config.namespace, version, kind, **members)

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


def namespace_of(plan: Deployment) -> str:
    """The namespace that this target's settings name."""
    config = plan.config.settings_of("kubernetes")
    assert isinstance(config, Kubernetes.Config)
    return config.namespace
