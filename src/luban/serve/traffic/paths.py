"""Deployments over HTTP, for people and pipelines that roll out (role operator); the same as `luban deployments`.

    GET  /v1/deployments/{model}                                     who answers, counts, shadows, canary, test
    POST /v1/deployments/{model}/weights | shadow | canary | test | promote | rollback | stop

Who did it stands on the audit trail by the name of the key or token. What cannot be done now is 409, and nothing is
changed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any

import orjson
from pydantic import Field, ValidationError

from luban.catalog import Config
from luban.errors import Denied, ReleaseError, plain
from luban.policy.rules import Actor
from luban.release.deployments import Deployments
from luban.release.rollout import CanaryRule, TestRule
from luban.serve.http.operations import NUMBER, TEXT, WHOLE, Body, Json, Operation, list_of, object_of, or_null
from luban.serve.http.predicting import body_of, check_type
from luban.serve.http.problems import Problem
from luban.serve.http.routes import Route
from luban.serve.http.wire import Request, Response
from luban.serve.learning.clerk import Clerk
from luban.serve.learning.feedback import json_of, ledger_of
from luban.serve.traffic.control import Controller
from luban.serve.traffic.told import told

if TYPE_CHECKING:
    from luban.serve.config import ServeConfig
    from luban.serve.fleet.fleet import Fleet
    from luban.store.ledger import Ledger

_Version = Annotated[int, Field(ge=1, le=2**31 - 1)]
_Reason = Annotated[str, Field(max_length=500)]


class Weights(Config):
    """Fixed shares by version; the champion has what is left."""

    shares: dict[_Version, float]
    reason: _Reason = ""


class Shadow(Config):
    """Versions that are asked without being heard."""

    versions: tuple[_Version, ...] = Field(max_length=10)


class StartCanary(Config):
    """A version, and how it steps up."""

    version: _Version
    rule: CanaryRule = Field(default_factory=CanaryRule)


class StartTest(Config):
    """A version, and what is compared."""

    version: _Version
    rule: TestRule = Field(default_factory=TestRule)


class Promote(Config):
    """A version that becomes champion."""

    version: _Version
    reason: _Reason = ""


class Because(Config):
    """Why; kept on the audit trail."""

    reason: _Reason = ""


_ARM = {"arm": TEXT, "version": WHOLE, "share": NUMBER, "requests": or_null(WHOLE), "failed": or_null(WHOLE)}
_TOLD = object_of(
    {
        "model": TEXT,
        "deployment": TEXT,
        "revision": WHOLE,
        "arms": list_of(object_of({**_ARM, "p50_ms": or_null(NUMBER), "p95_ms": or_null(NUMBER)})),
        "shadows": list_of({"type": "object"}),
        "servers": list_of({"type": "object"}),
        "canary": or_null({"type": "object"}),
        "test": or_null({"type": "object"}),
    }
)
_PROBLEMS = (400, 403, 404, 408, 409, 413, 415, 422, 503)
SHOW = Operation("Who answers now, and how a canary or test stands.", gives=Body(_TOLD), problems=(403, 404, 503))
Change = Callable[[Deployments, str, Any, Actor], object]


class Rollouts:
    """The handlers."""

    def __init__(
        self, fleet: Fleet, config: ServeConfig, ledger: Ledger | None, deployments: Deployments | None
    ) -> None:
        self._fleet = fleet
        self._config = config
        self._ledger = ledger
        self._deployments = deployments
        self._clerk = Clerk()

    def close(self) -> None:
        """End the threads."""
        self._clerk.close()

    def routes(self) -> list[Route]:
        """What this file answers."""
        changes: list[tuple[str, str, type[Config], Change]] = [
            ("weights", "Give versions fixed shares.", Weights, _set_weights),
            ("shadow", "Ask versions too, unheard.", Shadow, lambda d, m, a, w: d.set_shadows(m, a.versions, w)),
            ("canary", "Begin a canary.", StartCanary, lambda d, m, a, w: d.start_canary(m, a.version, a.rule, w)),
            ("test", "Begin an A/B test.", StartTest, lambda d, m, a, w: d.start_test(m, a.version, a.rule, w)),
            ("promote", "Make a version champion.", Promote, lambda d, m, a, w: d.promote(m, a.version, w, a.reason)),
            ("rollback", "Go back at once.", Because, lambda d, m, a, w: d.rollback(m, w, a.reason)),
            ("stop", "End what shares the questions.", Because, lambda d, m, a, w: d.stop(m, w, a.reason)),
        ]  # fmt: skip
        path = "/v1/deployments/{model}"
        posts = [
            Route("POST", f"{path}/{verb}", self._changing(asked, change), "operator", _described(summary, asked))
            for verb, summary, asked, change in changes
        ]
        return [Route("GET", path, self.show, "viewer", SHOW), *posts]

    async def show(self, request: Request) -> Response:
        """How it stands."""
        return await self._shown(self._model(request))

    def _changing(self, asked: type[Config], change: Change) -> Callable[[Request], Awaitable[Response]]:
        async def handler(request: Request) -> Response:
            model, deployments = self._model(request), self._opened()
            caller = request.caller
            found = _read(asked, await body_of(request, self._config), request)
            actor = Actor(caller.name, caller.role)
            try:
                await self._clerk.do(lambda: change(deployments, model, found, actor))
            except ReleaseError as error:
                raise Problem("not-now", error.message, error.hint or "Look at the deployment first.") from error
            except Denied as error:
                raise Problem("not-allowed", error.message, error.hint or "Ask for another key.") from error
            return await self._shown(model)

        return handler

    async def _shown(self, model: str) -> Response:
        deployments, ledger = self._opened(), ledger_of(self._ledger)
        found = await self._clerk.do(lambda: told(ledger, Controller(ledger, deployments).look(model)))
        return Response(orjson.dumps(found))

    def _opened(self) -> Deployments:
        ledger_of(self._ledger)
        assert self._deployments is not None, "who has a ledger has deployments"
        return self._deployments

    def _model(self, request: Request) -> str:
        model = self._fleet.live(request.parts["model"]).name
        if not request.caller.may_ask(model):
            raise Problem("not-allowed", f"{request.caller.name} may not ask the model `{model}`.", "Ask for a key.")
        return model


def _set_weights(deployments: Deployments, model: str, asked: Weights, actor: Actor) -> object:
    return deployments.set_weights(model, asked.shares, actor, reason=asked.reason)


def _described(summary: str, asked: type[Config]) -> Operation:
    schema: Json = asked.model_json_schema(ref_template="#/components/schemas/{model}")
    defined = schema.pop("$defs", {})
    for name, field in schema.get("properties", {}).items():
        if "$ref" in field:  # Told in place: components are the bundle's.
            schema["properties"][name] = defined[field["$ref"].rpartition("/")[2]]
    return Operation(summary, takes=Body(schema), gives=Body(_TOLD), problems=_PROBLEMS)


def _read(asked: type[Config], body: bytes, request: Request) -> Config:
    if body:
        check_type(request)
    try:
        return asked.model_validate(json_of(body) if body else {})
    except ValidationError as error:
        faults = [
            {"pointer": "/".join(["", *map(str, one["loc"])]), "detail": plain(one["type"], one["msg"])}
            for one in error.errors(include_url=False, include_input=False, include_context=False)
        ]
        told_of = "; ".join(f"{one['pointer']}: {one['detail']}" for one in faults)
        raise Problem("wrong-shape", told_of, "See /openapi.json.", {"errors": faults}) from None
