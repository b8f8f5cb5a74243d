"""`POST /v1/feedback`: the truth of answers, told later, and business figures.

    {"feedback": [{"request_id": "…", "position": 0, "truth": "bad", "figures": {"revenue": 12.5}}]}

Each item gets a result of its own, in order, and a bad one stops no other: `joined` to its answer; `pending` where that
is not recorded (yet), or another caller's; `refused`, with the reason. A truth is read as the target's column type
reads it. How truths are kept, and whose answers a caller may tell them of, is decided in `truths.py`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import orjson

from luban.errors import BadValue
from luban.serve.http.operations import NUMBER, TEXT, WHOLE, Body, Json, Operation, list_of, object_of
from luban.serve.http.predicting import body_of, check_type, entry_of
from luban.serve.http.problems import Problem
from luban.serve.http.routes import Route
from luban.serve.http.wire import Request, Response
from luban.serve.learning.clerk import Clerk
from luban.serve.learning.truths import Kept, Truth, answering, as_text, keep
from luban.serve.question import Caller

if TYPE_CHECKING:
    from luban.serve.config import ServeConfig
    from luban.serve.desk import Desk
    from luban.serve.fleet.served import Served
    from luban.serve.learning.judges import Judges
    from luban.store.database import Transaction
    from luban.store.ledger import Ledger

MAX_ITEMS, MAX_FIGURES, MAX_FIGURE = 1000, 20, 1e300
MAX_TRUTH_CHARACTERS = 16_384
MEMBERS = ("request_id", "position", "truth", "figures")
_ID = re.compile(r"[A-Za-z0-9._~:-]{1,128}")
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_FORM = 'Send {"feedback": [{"request_id": "…", "position": 0, "truth": …}]}; see /openapi.json.'


def _example(served: Served) -> Json:
    return {
        "feedback": [{"request_id": "0123456789abcdef0123456789abcdef", "position": 0, "figures": {"revenue": 12.5}}]
    }


_ITEM = object_of(
    {"request_id": TEXT, "position": WHOLE | {"minimum": 0}, "truth": {}, "figures": {"type": "object"}}, ["request_id"]
)
_RESULT = object_of(
    {"request_id": {}, "position": {}, "state": {"enum": ["joined", "pending", "refused"]}},  # as they were sent
    ["state"],
    more=True,
)
DESCRIBED = Operation(
    "Take the truth of answers that were given to this caller (to an operator: of any), or business figures; each item "
    "gets a result of its own.",
    takes=Body(object_of({"feedback": list_of(_ITEM)}), example=_example),
    gives=Body(object_of({"results": list_of(_RESULT), "request_id": TEXT, "joined": NUMBER}, ["results"], more=True)),
    problems=(400, 403, 408, 413, 415, 422, 429, 503),
)


class Feedback:
    """The handler of feedback. `ledger` is None where the server has none: then all is refused with that reason."""

    def __init__(self, desk: Desk, config: ServeConfig, ledger: Ledger | None, judges: Judges, clerk: Clerk) -> None:
        self._desk = desk
        self._config = config
        self._ledger = ledger
        self._judges = judges
        self._clerk = clerk

    def routes(self) -> list[Route]:
        """What this file answers."""
        role = self._config.records.feedback_role
        paths = ("/v1/feedback", "/v1/models/{model}/feedback")
        return [Route("POST", path, self.take, role, DESCRIBED) for path in paths]

    async def take(self, request: Request) -> Response:
        """Take the truth of answers that were given."""
        check_type(request)
        entry = entry_of(request, self._desk)
        ledger = ledger_of(self._ledger)
        admission = self._desk.admit(entry)
        try:
            items = _items(await body_of(request, self._config))
            await self._judges.ready(entry.model)
            results = await self._clerk.do(lambda: self._keep_all(ledger, items, entry.model, request.caller))
        finally:
            admission.leave()
        counts = {state: sum(one["state"] == state for one in results) for state in ("joined", "pending", "refused")}
        return Response(orjson.dumps({"results": results, **counts, "request_id": request.id}))

    def _keep_all(self, ledger: Ledger, items: list[Any], model: str, caller: Caller) -> list[Json]:
        with ledger.transaction() as tx:
            return [self._keep(tx, item, model, caller) for item in items]

    def _keep(self, tx: Transaction, item: Any, model: str, caller: Caller) -> Json:
        told, reason = read_item(item)
        if told is None:
            return {**_named(item), "state": "refused", "reason": reason}
        answer = answering(tx, told.request_id, told.position, caller)
        model = model if answer is None else str(answer.model)
        note = ""
        try:
            if told.truth is not None:
                value, note = self._judges.read(model, told.truth)
                told = Truth(told.request_id, told.position, value, told.figures)
            kept = keep(tx, told, model, caller, self._judges)
        except BadValue as error:
            kept = Kept("refused", f"truth: {error.message}")
        said = {"reason": kept.reason} if kept.reason else {"note": note} if note else {}
        return {"request_id": told.request_id, "position": told.position, "state": kept.state, **said}


def ledger_of(ledger: Ledger | None) -> Ledger:
    """The ledger. Raises Problem where the server has none."""
    if ledger is None:
        detail = "This server has no ledger: it serves the bundle of a folder."
        raise Problem("no-ledger", detail, "Serve a project, `luban serve --project …`.")
    return ledger


def json_of(body: bytes) -> Any:
    """What a body says. Raises Problem where it is not JSON."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Problem("not-json", f"At character {error.pos}: {error.msg}.", _FORM, {"offset": error.pos}) from None


def _items(body: bytes) -> list[Any]:
    found = json_of(body)
    if not isinstance(found, dict) or list(found) != ["feedback"] or not isinstance(found["feedback"], list):
        detail = "The body must be an object with the member `feedback`, a list, and no other."
        raise Problem("wrong-shape", detail, _FORM, {"errors": [{"pointer": "/feedback", "detail": detail}]})
    items: list[Any] = found["feedback"]
    if len(items) > MAX_ITEMS:
        detail = f"`feedback` must hold at most {MAX_ITEMS} items, but got {len(items)}."
        raise Problem("too-many-rows", detail, "Send fewer a request.")
    return items


def read_item(item: Any) -> tuple[Truth | None, str]:
    """One item, its truth as it was sent; or None, and why not."""
    if not isinstance(item, dict):
        return None, "an item must be an object"
    wrong = next((name for name in item if name not in MEMBERS), None)
    if wrong is not None:
        return None, f"there is no member `{wrong[:80]}`; members: {', '.join(MEMBERS)}"
    request_id, position = item.get("request_id"), item.get("position", 0)
    if not isinstance(request_id, str) or not _ID.fullmatch(request_id):
        return None, "`request_id` must be that of an answer"
    if isinstance(position, bool) or not isinstance(position, int) or not 0 <= position < 2**31:
        return None, "`position` must be the number of the row in its request, from 0"
    if "truth" in item and item["truth"] is None:
        return None, "truth: is missing"
    if len(as_text(item.get("truth"))) > MAX_TRUTH_CHARACTERS:
        return None, f"truth: must have at most {MAX_TRUTH_CHARACTERS:,} characters"
    figures = item.get("figures", {})
    reason = _wrong_figures(figures)
    if reason is None and "truth" not in item and not figures:
        reason = "`truth` or `figures` must be there"
    return (None, reason) if reason else (Truth(request_id, position, item.get("truth"), figures), "")


def _wrong_figures(figures: Any) -> str | None:
    if not isinstance(figures, dict) or len(figures) > MAX_FIGURES:
        return f"`figures` must be an object of at most {MAX_FIGURES} numbers"
    for name, value in figures.items():
        if not _NAME.fullmatch(name):
            return f"`figures`: a name must be letters, digits, dots or hyphens, but got `{name[:80]}`"
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < MAX_FIGURE:
            return f"`figures`: `{name}` must be a number"
    return None


def _named(item: Any) -> Json:
    """What of a bad item says which it was."""
    if not isinstance(item, dict):
        return {}
    return {name: item[name] for name in ("request_id", "position") if isinstance(item.get(name), (str, int))}
