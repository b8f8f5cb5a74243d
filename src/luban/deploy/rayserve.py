"""Ray Serve: the same application in replicas of a Ray cluster.

    serve deploy serve.yaml        on a cluster; or serve run serve.yaml on this machine

The file that the target writes names `luban.cli.ray:application`, which builds the deployment from its arguments.
Decided here: a replica runs the whole application, with its guards, batches, figures and processes for jobs, so that
an answer over Ray is the answer of any other server; Ray shares requests out, starts replicas and ends them. What
a server does at its own port is Ray's here: settings of that (`NOT_FOLLOWED`) are named when the file is written and
in each replica's log. Keys come in the environment, never in the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field, model_validator

from luban.catalog import Config as Settings
from luban.deploy.base import BUNDLE, Deployment, File, Target
from luban.deploy.pods import written
from luban.deploy.templates import header
from luban.errors import ConfigError
from luban.serve.config import ServeConfig

KIND, NAME = "ray", "luban"
NOT_FOLLOWED = {
    "workers": "Ray starts replicas in place of worker processes.",
    "grpc.port": "Ray's proxies pass on HTTP alone.",
    "head_timeout_s": "Ray's proxies read the requests.",
    "drain_s": "Ray sends a replica nothing more before it ends it.",
}
"""Settings of the server that belong to a port of its own, and who does that on Ray."""
_ONE_BY_CHANCE = (
    "GET /metrics is answered by one replica by chance, for itself alone; for figures of all replicas scrape Ray's own."
)
_COUNTED_EACH = (
    "Limits are counted by each replica for itself, so all together let through that many times as much: to count them "
    "together, set `serve.limits.redis`."
)


class Arguments(Settings):
    """What `application` is given: one of the two, as a path on the cluster's machines."""

    bundle: str = ""
    """A bundle's folder."""
    project: str = ""
    """The folder of luban.yaml; servers then follow the alias in `LUBAN_LEDGER`."""

    @model_validator(mode="after")
    def _one(self) -> Arguments:
        if bool(self.bundle) == bool(self.project):
            raise ValueError("`bundle` or `project` must be given, and not both")
        return self


class Ray(Target):
    """serve.yaml, a configuration of Ray Serve."""

    extra = "ray"
    not_followed = NOT_FOLLOWED

    class Config(Settings):
        """How Ray runs the model."""

        bundle_at: str = Field("/bundle", min_length=1)
        """Where the bundle (or the project's folder) lies on the cluster's machines: in the image, or on a shared
        disk."""
        max_replicas: int = Field(10, ge=1)
        """Most replicas."""
        target_ongoing: int = Field(16, ge=1)
        """Requests at once that one replica should have; more start another."""
        port: int = Field(8000, ge=1, le=65_535)
        """Port of Ray's proxies."""

    def files(self, plan: Deployment) -> Sequence[File]:
        """serve.yaml. Raises ConfigError where replicas would speak TLS themselves."""
        refuse_tls_on_ray(plan.serve)
        return [File("serve.yaml", written(self._config(plan), header(KIND, plan)))]

    def notes(self, plan: Deployment) -> Sequence[str]:
        """See Target."""
        limits = plan.serve.limits
        counted = (limits.requests is not None or limits.rows is not None) and limits.redis is None
        return (*super().notes(plan), *((_COUNTED_EACH,) if counted else ()), _ONE_BY_CHANCE)

    def next_steps(self, plan: Deployment) -> Sequence[str]:
        """See Target."""
        follows = plan.config.model_from == "project"
        what = "project's folder" if follows else "bundle"
        keys = "LUBAN_API_KEY, LUBAN_LEDGER and LUBAN_STORE" if follows else "LUBAN_API_KEY"
        extras = dict.fromkeys((self.extra, *plan.extras))
        packages = " ".join((f'"{plan.install(tuple(extras))}"', *plan.config.packages))
        return [
            f"pip install {packages}          # on every machine, or in the cluster's image",
            f"Put the {what} at {self.config.bundle_at} on every machine, or into the cluster's image.",
            f"Give the machines {keys} in their environment.",
            "serve deploy serve.yaml",
        ]

    def _environment(self, plan: Deployment) -> dict[str, str]:
        # A replica sees all cores of its machine, whatever share of them Ray means for it.
        threads = {"LUBAN__SERVE__MODEL_THREADS": str(max(1, int(plan.config.cpus)))}
        return {**threads, **plan.environment}

    def _config(self, plan: Deployment) -> dict[str, Any]:
        source = "project" if plan.config.model_from == "project" else BUNDLE
        scaling = {
            "min_replicas": plan.config.replicas,
            "max_replicas": max(plan.config.replicas, self.config.max_replicas),
            "target_ongoing_requests": self.config.target_ongoing,
        }
        deployment = {
            "name": NAME,
            "autoscaling_config": scaling,
            "max_ongoing_requests": plan.serve.max_connections,
            "graceful_shutdown_timeout_s": plan.serve.stop_timeout_s,
            "health_check_period_s": 10,
            "ray_actor_options": {"num_cpus": plan.config.cpus, "memory": plan.config.memory_mb * 2**20},
        }
        found: dict[str, Any] = {
            "name": plan.name,
            "route_prefix": "/",
            "import_path": "luban.cli.ray:application",
            "args": {source: self.config.bundle_at},
            "deployments": [deployment],
        }
        found["runtime_env"] = {"env_vars": self._environment(plan)}
        return {
            "proxy_location": "EveryNode",
            "http_options": {"host": "0.0.0.0", "port": self.config.port},
            "applications": [found],
        }


def refuse_tls_on_ray(serve: ServeConfig) -> None:
    """Raise ConfigError where a replica would be thought to speak TLS."""
    if serve.tls is not None:
        raise ConfigError(
            "`serve.tls` must not be set here: Ray's proxies take requests in plain HTTP.",
            "Take it out, and end TLS before Ray: luban deploy proxy.",
        )
