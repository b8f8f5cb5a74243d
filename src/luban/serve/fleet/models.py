"""`/v1/models`: which models this server has, which of their versions are loaded, and facts of each.

    GET /v1/models   GET /v1/models/{model}

A caller sees the models that it may ask; so it does at `/ready`, which tells everybody else no name. What is idle is
loaded for its facts, as for a question.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from luban.serve.fleet.fleet import Fleet
from luban.serve.fleet.memory import MB
from luban.serve.fleet.waking import LATER
from luban.serve.http.openapi import model_facts
from luban.serve.http.operations import NUMBER, TEXT, Body, Operation, list_of, object_of, or_null, ref
from luban.serve.http.problems import Problem
from luban.serve.http.routes import Route
from luban.serve.http.wire import Request, Response

if TYPE_CHECKING:
    from luban.serve.fleet.live import LiveBundle
    from luban.serve.question import Caller

Json = dict[str, Any]
NOT_YET = "This server cannot be asked yet."
_NUMBER = or_null({"type": "integer"})
_VERSION = object_of({"version": _NUMBER, "arm": TEXT, "weight": or_null(NUMBER), "loaded_mb": or_null(NUMBER)})
_STATE = {"enum": ["loaded", "idle", "refused"]}
_MODEL = object_of(
    {
        "model": TEXT,
        "state": _STATE,
        "reason": or_null(TEXT),
        "version": _NUMBER,
        "identity": or_null(TEXT),
        "versions": list_of(_VERSION),
    }
)
LISTED = Operation(
    "The models of this server, and what is loaded of each.", gives=Body(object_of({"models": list_of(_MODEL)}))
)
FACTS = Operation(
    "Facts of one model, as it answers now.",
    gives=Body({"allOf": [ref("Identity"), object_of({"columns": {}, "answers": {}}, more=True)]}),
    problems=(403, 404, 503),
)


class Models:
    """The handlers."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def routes(self) -> list[Route]:
        """What this file answers."""
        return [
            Route("GET", "/v1/models", self.listed, "viewer", LISTED),
            Route("GET", "/v1/models/{model}", self.facts, "viewer", FACTS),
        ]

    async def listed(self, request: Request) -> Response:
        """All that the caller may ask."""
        names = [name for name in self._fleet.names() if request.caller.may_ask(name)]
        return Response(orjson.dumps({"models": [described(self._fleet.live(name)) for name in names]}))

    async def facts(self, request: Request) -> Response:
        """One of them."""
        name = request.parts["model"]
        if not request.caller.may_ask(name):
            detail = f"{request.caller.name} may not ask the model `{name}`."
            raise Problem("not-allowed", detail, "Ask for a key that may.")
        facts = model_facts(await self._fleet.served(name))
        return Response(orjson.dumps({**facts, **described(self._fleet.live(name))}))


def described(live: LiveBundle) -> Json:
    """One model, loaded or not. `weight` of a shadow is null, as is that of a spare version."""
    routing, lineup = live.routing, live.lineup
    versions: list[Json] = []
    for arm in (*lineup.arms, *lineup.shadows) if lineup is not None else ():
        weight = arm.weight if lineup is not None and arm in lineup.arms else None
        versions.append({"version": arm.wanted.version, "arm": arm.name, "weight": weight, "loaded_mb": None})
    if routing is not None:
        for one, held in zip(versions, (*routing.arms, *routing.shadows), strict=False):
            one["loaded_mb"] = round(held.served.cost_bytes / MB, 1)
    for spare in live.shelf.spares():
        cost = round(spare.cost_bytes / MB, 1)
        versions.append({"version": spare.version, "arm": "", "weight": None, "loaded_mb": cost})
    return {
        "model": live.name,
        "state": live.state,
        "reason": live.reason or None,
        "version": lineup.arms[0].wanted.version if lineup is not None else None,
        "identity": live.identity,
        "versions": versions,
    }


def readiness(fleet: Fleet, caller: Caller | None) -> Json:
    """What `/ready` says of a server that is: counts to everybody, and names to a caller that was let in.

    Of models, a caller is told the state of those that it may ask, and more of the first of them.
    """
    states = [fleet.live(name).state for name in fleet.names()]
    told = {"status": "ready", "counts": {state: states.count(state) for state in ("loaded", "idle", "refused")}}
    names = [name for name in fleet.names() if caller is not None and caller.may_ask(name)]
    if not names:
        return told
    first = described(fleet.live(names[0]))
    return {
        **told,
        **{name: first[name] for name in ("model", "version", "identity")},
        "newest_refused": first["reason"],
        "models": {name: fleet.live(name).state for name in names},
    }


def unready(reason: str, caller: Caller | None) -> Problem:
    """What `/ready` says of a server that is not: why, to a caller that may ask all models."""
    if caller is not None and caller.models is None:
        return Problem("no-model", reason, "Release a model, or wait until it is loaded.", None, LATER)
    return Problem("no-model", NOT_YET, "Its log says why, and so does /ready to whoever has a key.", None, LATER)
