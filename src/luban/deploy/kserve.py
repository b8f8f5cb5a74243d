"""KServe: an InferenceService, and, where bundles come from a store, a ServingRuntime that opens them.

Decided here: the model speaks the open inference protocol (V2), as KServe's other runtimes do; servers scale to
zero by default, since a server is ready in a second or two, and that is done by Knative, which lets nobody set a
pod's time to end or its security context: it gives a server the request's time, and containers state their own rights;
the canary that KServe offers is between images, while
`luban deployments` moves shares between versions without one. Objects are data, written as YAML.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from luban.catalog import Config as Settings
from luban.deploy.base import Deployment, File, Target
from luban.deploy.pods import (
    Object,
    container,
    container_security,
    follows,
    grace_s,
    image_notes,
    image_steps,
    key_step,
    labels,
    name_of,
    probe,
    pull_secrets,
    refuse_tls,
    written,
)
from luban.deploy.proxies.front import behind_proxy
from luban.deploy.templates import header
from luban.errors import ConfigError

KIND = "kserve"
PORT = 8080
MODELS = "/mnt/models"
"""Where KServe's storage initialiser puts what `storageUri` names."""

_JOBS_WAIT = (
    "Jobs wait while no server runs, and with `min_replicas` 0 one that is begun may be ended with its server, to be "
    "begun again by the next. Set `min_replicas` to 1 where customers send files."
)


class KServe(Target):
    """InferenceService with V2 protocol and scale to zero."""

    not_followed = {"grpc.port": "KServe gives a model one port, which speaks HTTP here."}

    class Config(Settings):
        """How KServe scales the model."""

        namespace: str = Field("default", pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")
        """Namespace of the objects."""
        storage_uri: str = Field("", pattern=r"^([a-z0-9]+://\S+)?$")
        """Where the bundle's folder lies (`s3://…`, `pvc://…`); by default it is in the image."""
        min_replicas: int = Field(0, ge=0)
        """Servers when nobody asks; 0 ends them all until somebody does."""
        max_replicas: int = Field(10, ge=1)
        """Most servers."""
        scale_metric: Literal["concurrency", "rps"] = "concurrency"
        """What is watched: requests at once, or a second."""
        scale_target: int = Field(8, ge=1)
        """How much of it one server takes before another is started."""
        idle_s: int = Field(300, ge=0, le=3600)
        """Seconds that the last server stays after the last request."""
        timeout_s: int = Field(60, ge=1)
        """Seconds that a request may take, and a server to end; no less than draining takes. Knative allows up to 600
        unless its administrator says otherwise."""
        canary_percent: int | None = Field(None, ge=0, le=100)
        """Share of requests for this image while the one before takes the rest."""
        pull_secret: str = ""
        """Name of the Secret with which the image is pulled from a private registry."""
        keys_secret: str = ""
        """Name of the Secret with `LUBAN_API_KEY` (and `LUBAN_LEDGER`, `LUBAN_STORE`); by default the model's name."""

    def files(self, plan: Deployment) -> Sequence[File]:
        """inferenceservice.yaml, and servingruntime.yaml where the bundle comes from a store."""
        top = header(KIND, plan)
        return [File(f"{one['kind'].lower()}.yaml", written(one, top)) for one in self.objects(plan)]

    def objects(self, plan: Deployment) -> list[Object]:
        """The objects, in the order in which they should be made. Raises ConfigError."""
        refuse_tls(plan)
        self._refuse_long_names(plan)
        if self.config.storage_uri and plan.config.model_from == "project":
            raise ConfigError(
                "`storage_uri` of the target kserve is for bundles, but `deploy.model_from` is project.",
                "Take one of them out.",
            )
        return [*([self._runtime(plan)] if self.config.storage_uri else []), self._service(plan)]

    def _refuse_long_names(self, plan: Deployment) -> None:
        # Knative makes `<name>-predictor-<namespace>` one label of a host's name (RFC 1035).
        most = 63 - len("-predictor-") - len(self.config.namespace)
        if len(name_of(plan)) > most:
            raise ConfigError(
                f"`name` must have at most {most} letters for KServe in the namespace {self.config.namespace}, but got "
                f"{name_of(plan)!r}.",
                "Take a shorter name, or a shorter `namespace`.",
            )

    def notes(self, plan: Deployment) -> Sequence[str]:
        """See Target."""
        jobs_wait = follows(plan) and plan.serve.jobs.enabled and self.config.min_replicas == 0
        return (*super().notes(plan), *image_notes(plan), *((_JOBS_WAIT,) if jobs_wait else ()))

    def next_steps(self, plan: Deployment) -> Sequence[str]:
        """See Target."""
        namespace, name = self.config.namespace, name_of(plan)
        secret = self.config.keys_secret or name
        return [
            *image_steps(plan),
            key_step(plan, namespace, secret),
            "kubectl apply -f .",
            f"kubectl -n {namespace} get inferenceservice {name}",
        ]

    def _about(self, plan: Deployment, name: str) -> Object:
        return {"name": name, "namespace": self.config.namespace, "labels": labels(plan)}

    def _container(self, plan: Deployment) -> Object:
        found = container(plan, PORT)
        found["name"] = "kserve-container"
        found["securityContext"] |= container_security()
        # Knative takes the protocol from the port's name, and gives the port in PORT, which is ours to ignore.
        found["ports"] = [{"name": "http1", "containerPort": PORT, "protocol": "TCP"}]
        found["env"] = [{"name": name, "value": value} for name, value in self._environment(plan).items()]
        found["envFrom"] = [{"secretRef": {"name": self.config.keys_secret or name_of(plan)}}]
        found["readinessProbe"] = {"httpGet": {**probe("/ready")["httpGet"], "port": PORT}, "periodSeconds": 2}
        return found

    def _environment(self, plan: Deployment) -> dict[str, str]:
        return {**behind_proxy(plan), "LUBAN__SERVE__HOST": "0.0.0.0", "LUBAN__SERVE__PORT": str(PORT)}

    def _service(self, plan: Deployment) -> Object:
        predictor: Object = {
            "minReplicas": self.config.min_replicas,
            "maxReplicas": max(self.config.min_replicas, self.config.max_replicas),
            "scaleMetric": self.config.scale_metric,
            "scaleTarget": self.config.scale_target,
            "timeout": max(self.config.timeout_s, grace_s(plan)),
            **pull_secrets(self.config.pull_secret),
        }
        if self.config.canary_percent is not None:
            predictor["canaryTrafficPercent"] = self.config.canary_percent
        if self.config.storage_uri:
            predictor["model"] = {
                "modelFormat": {"name": "luban"},
                "runtime": f"{name_of(plan)}-luban",
                "protocolVersion": "v2",
                "storageUri": self.config.storage_uri,
            }
        else:
            predictor |= {"containers": [self._container(plan)], "volumes": _volumes()}
        about = self._about(plan, name_of(plan))
        about["annotations"] = {
            "autoscaling.knative.dev/scale-to-zero-pod-retention-period": f"{self.config.idle_s}s",
        }
        return _object("serving.kserve.io/v1beta1", "InferenceService", about, {"predictor": predictor})

    def _runtime(self, plan: Deployment) -> Object:
        spec = {
            "supportedModelFormats": [{"name": "luban", "version": "1", "autoSelect": True}],
            "protocolVersions": ["v2"],
            "containers": [{**self._container(plan), "args": ["--bundle", MODELS]}],
            "volumes": _volumes(),
        }
        return _object(
            "serving.kserve.io/v1alpha1", "ServingRuntime", self._about(plan, f"{name_of(plan)}-luban"), spec
        )


def _object(version: str, kind: str, about: Object, spec: Object) -> Object:
    return {"apiVersion": version, "kind": kind, "metadata": about, "spec": spec}


def _volumes() -> list[dict[str, Any]]:
    return [{"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}}]
