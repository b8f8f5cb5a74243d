"""What Ray Serve starts: `import_path: luban.cli.ray:application` in the file that `luban deploy ray` writes."""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from luban.catalog import need
from luban.deploy.rayserve import NAME, Arguments, Ray

if TYPE_CHECKING:
    from luban.serve.app import App
    from luban.serve.http.wire import Receive, Scope, Send


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
    from luban.serve.fleet.fleet import Origins
    from luban.serve.fleet.origins import FolderOrigin
    from luban.serve.fleet.roster import roster
    from luban.serve.server import application as assembled
    from luban.workshop import Workshop

    if given.bundle:
        return assembled(Origins((FolderOrigin(Path(given.bundle)),)), server_settings())
    shop = Workshop.open(*load_project(given.project))
    config = shop.project.serve
    return assembled(roster(shop.project.name, config, shop.home), config, home=shop.home)
