"""What Ray Serve starts: `import_path: luban.cli.ray:application` in the file that `luban deploy ray` writes."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from luban.catalog import need
from luban.deploy.base import ignored
from luban.deploy.rayserve import NAME, NOT_FOLLOWED, Arguments, Ray, refuse_tls_on_ray

if TYPE_CHECKING:
    from luban.serve.app import App
    from luban.serve.config import ServeConfig
    from luban.serve.http.wire import Receive, Scope, Send

LOG = logging.getLogger("luban.serve")


def application(args: dict[str, str]) -> Any:
    """The deployment for Ray Serve, from the `args` of its configuration. Raises ValidationError, MissingExtra."""
    serve = need("ray.serve", Ray.extra)
    given = Arguments.model_validate(args)

    def build() -> Replica:
        return Replica(given)

    return serve.deployment(serve.ingress(build)(), name=NAME).bind()


class Replica:
    """The application in one process of Ray's: begun when it is made, ended when Ray says so.

    What lives beside it, such as processes for jobs, is started with it and stopped before it.
    """

    def __init__(self, given: Arguments) -> None:
        self._opened = ExitStack()
        self._app = self._opened.enter_context(_opened(given))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or the life of the process (ASGI's lifespan protocol)."""
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return
        from luban.serve.guards.breaker import end_process

        await receive()  # lifespan.startup
        # Where a model hangs, the process ends, and Ray starts another replica.
        self._app.guarding.watch(end_process)
        await self._app.companions.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()  # lifespan.shutdown
        await self._app.companions.stop()
        self._opened.close()
        await send({"type": "lifespan.shutdown.complete"})


def _opened(given: Arguments) -> AbstractContextManager[App]:
    from luban.project import load_project, server_settings
    from luban.serve.fleet.fleet import Origins
    from luban.serve.fleet.origins import FolderOrigin
    from luban.serve.fleet.roster import roster
    from luban.serve.server import application as assembled
    from luban.serve.watch import log
    from luban.workshop import Workshop

    log.set_up()
    if given.bundle:
        return assembled(Origins((FolderOrigin(Path(given.bundle)),)), _followed(server_settings()))
    shop = Workshop.open(*load_project(given.project))
    config = _followed(shop.project.serve)
    return assembled(roster(shop.project.name, config, shop.home), config, home=shop.home)


def _followed(config: ServeConfig) -> ServeConfig:
    """The settings without those that no replica can follow, each of which is named in the log. Raises ConfigError."""
    refuse_tls_on_ray(config)
    for sentence in ignored(config, NOT_FOLLOWED):
        LOG.warning("setting not followed", extra={"fields": {"reason": sentence}})
    return config.model_copy(update={"workers": 1, "grpc": type(config.grpc)()})
