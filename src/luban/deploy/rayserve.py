"""Ray Serve: the same application in replicas of a Ray cluster.

    serve deploy serve.yaml        on a cluster; or serve run serve.yaml on this machine

The file that the target writes names `luban.deploy.rayserve:application`, which builds the deployment from its
arguments. Decided here: a replica runs the whole application, with its guards, batches and figures, so that an answer
over Ray is the answer of any other server; Ray shares requests out and starts replicas. Each replica counts
limits for itself, unless they are kept in Redis. Keys come in the environment, never in the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from luban.catalog import Config, need
from luban.deploy.base import BUNDLE, Deployment, File, Target
from luban.deploy.kubernetes import written
from luban.deploy.templates import header

if TYPE_CHECKING:
    from luban.serve.app import App
    from luban.serve.wire import Receive, Scope, Send

KIND, NAME = "ray", "luban"


class Arguments(Config):
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

    class Config(Config):
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
        return [
            f"Put the bundle at {self.config.bundle_at} on every machine, or into the cluster's image.",
            "Give the machines LUBAN_API_KEY in their environment.",
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
            "import_path": "luban.deploy.rayserve:application",
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


def application(args: dict[str, str]) -> Any:
    """The deployment for Ray Serve, from the `args` of its configuration. Raises ValidationError, MissingExtra."""
    serve = need("ray.serve", Ray.extra)
    given = Arguments.model_validate(args)

    def build() -> Replica:
        return Replica(given)

    return serve.deployment(serve.ingress(build)(), name=NAME).bind()


class Replica:
    """The application in one process of Ray's: begun when it is made, ended when Ray says so."""

    def __init__(self, given: Arguments) -> None:
        self._opened = ExitStack()
        self._app = self._opened.enter_context(_opened(given))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or the life of the process (ASGI's lifespan protocol)."""
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return
        while (message := await receive())["type"] != "lifespan.shutdown":
            await send({"type": f"{message['type']}.complete"})
        self._opened.close()
        await send({"type": "lifespan.shutdown.complete"})


def _opened(given: Arguments) -> AbstractContextManager[App]:
    from luban.project import load_project, server_settings
    from luban.serve.origins import AliasOrigin, FolderOrigin
    from luban.serve.server import application as assembled
    from luban.workshop import Workshop

    if given.bundle:
        return assembled(FolderOrigin(Path(given.bundle)), server_settings())
    shop = Workshop.open(*load_project(given.project))
    config = shop.project.serve
    origin = AliasOrigin(shop.project.name, config.alias, shop.registry.resolve, shop.home.store.fetch)
    return assembled(origin, config, home=shop.home)
