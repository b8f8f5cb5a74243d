"""Ray Serve: the same application in replicas of a Ray cluster.

    serve deploy serve.yaml        on a cluster; or serve run serve.yaml on this machine

The file that the target writes names `luban.cli.ray:application`, which builds the deployment from its arguments.
Decided here: a replica runs the whole application, with its guards, batches and figures, so that an answer
over Ray is the answer of any other server; Ray shares requests out and starts replicas. Each replica counts
limits for itself, unless they are kept in Redis. Keys come in the environment, never in the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field, model_validator

from luban.catalog import Config as Settings
from luban.deploy.base import BUNDLE, Deployment, File, Target
from luban.deploy.kubernetes import written
from luban.deploy.templates import header

KIND, NAME = "ray", "luban"


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
        """serve.yaml."""
        return [File("serve.yaml", written(self._config(plan), header(KIND, plan)))]

    def next_steps(self, plan: Deployment) -> Sequence[str]:
        """See Target."""
        follows = plan.config.model_from == "project"
        what = "project's folder" if follows else "bundle"
        keys = "LUBAN_API_KEY, LUBAN_LEDGER and LUBAN_STORE" if follows else "LUBAN_API_KEY"
        return [
            f"Put the {what} at {self.config.bundle_at} on every machine, or into the cluster's image.",
            f"Give the machines {keys} in their environment.",
            "serve deploy serve.yaml",
        ]

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
        if plan.environment:
            found["runtime_env"] = {"env_vars": plan.environment}
        return {
            "proxy_location": "EveryNode",
            "http_options": {"host": "0.0.0.0", "port": self.config.port},
            "applications": [found],
        }
