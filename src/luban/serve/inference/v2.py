"""The open inference protocol (V2) over REST: what KServe, Triton and their clients speak.

    GET  /v2    /v2/health/live    /v2/health/ready
    GET  /v2/models/{model}[/versions/{version}][/ready]
    POST /v2/models/{model}[/versions/{version}]/infer

With the binary tensor data extension, in both directions. The protocol says nothing of keys: what probes need, whether
the server lives and is ready, is open to all and names nothing; what names a model or this software takes a key. A
refusal is the same problem as elsewhere, with a member `error` beside, which is what this protocol's clients show. A
question goes the desk's way, like all others.
Source: KServe, "Open Inference Protocol V2", and Triton's extension "binary_tensor_data".
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import orjson

from luban import __version__
from luban.serve.config import ServeConfig
from luban.serve.desk import Desk
from luban.serve.fleet.models import unready
from luban.serve.fleet.waking import LATER
from luban.serve.http.asking import too_many
from luban.serve.http.predicting import STICKY, body_of, deadline_of, entry_of
from luban.serve.http.problems import Problem
from luban.serve.http.routes import Route
from luban.serve.http.wire import Request, Response, number_in
from luban.serve.inference import v2_described as described
from luban.serve.inference.tensors import (
    Tensor,
    answers_as_tensors,
    count_of,
    inputs_of,
    outputs_of,
    packed,
    plain,
    rows_of,
    split_parameters,
    unpacked,
)
from luban.serve.question import Entry, Question, Reply

if TYPE_CHECKING:
    from luban.serve.fleet.live import Served

HEADER = "inference-header-content-length"
NAME = "luban"
EXTENSIONS = ("binary_tensor_data",)
PLATFORM = "luban_bundle"
_TODO = "See /openapi.json."


class OpenInference:
    """The handlers of this protocol over REST."""

    def __init__(self, desk: Desk, config: ServeConfig) -> None:
        self._desk = desk
        self._config = config

    def routes(self) -> list[Route]:
        """What this file answers."""
        one, this = "/v2/models/{model}", "/v2/models/{model}/versions/{version}"
        return [
            Route("GET", "/v2", self._server, "viewer", described.SERVER),
            Route("GET", "/v2/health/live", self._live, None, described.LIVE),
            Route("GET", "/v2/health/ready", self._ready, None, described.READY),
            *(Route("GET", path, self._model, "viewer", described.MODEL) for path in (one, this)),
            *(
                Route("GET", f"{path}/ready", self._model_ready, "viewer", described.MODEL_READY)
                for path in (one, this)
            ),
            *(Route("POST", f"{path}/infer", self._infer, "caller", described.INFER) for path in (one, this)),
        ]

    async def _server(self, request: Request) -> Response:
        return _json({"name": NAME, "version": __version__, "extensions": list(EXTENSIONS)})

    async def _live(self, request: Request) -> Response:
        return _json({"live": True})

    async def _ready(self, request: Request) -> Response:
        check_ready(self._desk)
        return _json({"ready": True})

    async def _model_ready(self, request: Request) -> Response:
        name = entry_of(request, self._desk).model
        check_ready(self._desk, name, request.parts.get("version", ""))
        return _json({"name": name, "ready": True})

    async def _model(self, request: Request) -> Response:
        model = entry_of(request, self._desk).model
        return _json(metadata(await served_of(self._desk, model, request.parts.get("version", ""))))

    async def _infer(self, request: Request) -> Response:
        _check_type(request)
        entry = entry_of(request, self._desk)
        deadline = deadline_of(request)
        admission = self._desk.admit(entry)
        try:
            body = await body_of(request, self._config)
            form, binary = _form(body, request.header(HEADER))
            question = _question(form, binary, entry, self._config.max_rows)
            question.version = version_of(request.parts.get("version", ""), entry.model)
            question.sticky = question.sticky or request.header(STICKY)
            question.deadline = min(question.deadline, deadline)
            return _written(form, await self._desk.ask(question))
        finally:
            admission.leave()


async def served_of(desk: Desk, model: str, version: str) -> Served:
    """What answers for a model, or for one of its versions that is loaded. Raises Problem."""
    number = version_of(version, model)
    if number is None:
        return await desk.fleet.served(model)
    arm = desk.fleet.live(model).shelf.find(number)
    if arm is None:
        raise _no_version(model, version)
    return arm.served


def check_ready(desk: Desk, model: str = "", version: str = "") -> None:
    """Raises Problem where a model cannot be asked, or with no model, where the server should not be."""
    if model:
        live = desk.fleet.live(model)
        number = version_of(version, model)
        if number is not None and live.shelf.find(number) is None:
            raise _no_version(model, version)
        if live.state == "refused":
            raise Problem("no-model", live.reason, "Release a model, or wait until it is loaded.", None, LATER)
    elif desk.fleet.unready():
        raise unready("", None)  # Open to all, so it names no model.


def version_of(text: str, model: str) -> int | None:
    """The number of a version, as a path or a message states it; None for "". Raises Problem."""
    if not text:
        return None
    if not text.isascii() or not text.isdecimal() or len(text) > 9:
        raise _no_version(model, text)
    return int(text)


def _no_version(model: str, version: str) -> Problem:
    return Problem(
        "no-such-model", f"Version {version[:80]} of `{model}` is not loaded here.", "Leave the version out."
    )


def metadata(served: Served) -> dict[str, Any]:
    """What the protocol tells of a model."""

    def told(kinds: dict[str, str]) -> list[dict[str, Any]]:
        return [{"name": name, "datatype": datatype, "shape": [-1]} for name, datatype in kinds.items()]

    versions = [str(served.version)] if served.version is not None else []
    return {
        "name": served.name,
        "versions": versions,
        "platform": PLATFORM,
        "inputs": told(inputs_of(served)),
        "outputs": told(outputs_of(served)),
    }


def asked(entry: Entry, rows: list[dict[str, Any]], parameters: dict[str, Any], max_rows: int) -> Question:
    """The question that tensors and parameters ask. Raises Problem."""
    if len(rows) > max_rows:
        raise too_many(len(rows), max_rows)
    own, options = split_parameters(parameters)
    timeout = own.get("timeout", 0)
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not timeout >= 0:
        raise _wrong("`timeout` must be microseconds, 0 or above.")
    sticky, explain = own.get("sticky_key", ""), own.get("explain", False)
    if not isinstance(sticky, str) or not isinstance(explain, bool):
        raise _wrong("`sticky_key` must be text, and `explain` true or false.")
    question = Question(entry, list(rows), options or None, sticky=sticky, explain=explain)
    question.deadline = time.monotonic() + timeout / 1e6 if timeout else math.inf
    return question


def _check_type(request: Request) -> None:
    """JSON or bytes; nothing at all only where it is no browser that asks: see `predicting.check_type`."""
    media_type = request.header("content-type").partition(";")[0].strip().lower()
    fits = media_type in ("application/json", "application/octet-stream")
    if not fits and (media_type or request.header("origin")):
        detail = f"The content type must be application/json or application/octet-stream, but got {media_type[:80]}."
        raise Problem("not-json-type", detail, "Send the header `Content-Type: application/json`.")
    coding = request.header("content-encoding")
    if coding.lower() not in ("", "identity"):
        raise Problem("not-json-type", f"The body must not be encoded, but got {coding[:80]}.", "Do not compress it.")


def _form(body: bytes, length: str) -> tuple[dict[str, Any], memoryview]:
    """The JSON of a body, and the bytes after it."""
    size = number_in(length) if length else len(body)
    if length and not (length.isascii() and length.isdecimal() and size <= len(body)):
        raise Problem("bad-request", f"The header {HEADER} must be a length within the body.", _TODO)
    try:
        form = orjson.loads(memoryview(body)[:size])
    except orjson.JSONDecodeError as error:
        raise Problem("not-json", f"At character {error.pos}: {error.msg}.", _TODO) from None
    if not isinstance(form, dict):
        raise _wrong("The body must be an object.")
    return form, memoryview(body)[size:]


def _question(form: dict[str, Any], binary: memoryview, entry: Entry, max_rows: int) -> Question:
    tensors: list[Tensor] = []
    for one in _objects(form, "inputs"):
        name, datatype, shape = one.get("name"), one.get("datatype"), one.get("shape")
        if not isinstance(name, str) or not isinstance(datatype, str) or not isinstance(shape, list):
            raise _wrong("An input must have `name`, `datatype` and `shape`.")
        count = count_of(name, shape)
        if count > max_rows:
            raise too_many(count, max_rows)
        size = _parameters(one).get("binary_data_size")
        if size is None:
            tensors.append(plain(name, datatype, count, one.get("data")))
            continue
        if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= len(binary):
            raise _wrong(f"`binary_data_size` of `{name[:80]}` must be a length within the body.")
        tensors.append(unpacked(name, datatype, count, binary[:size]))
        binary = binary[size:]
    if len(binary):
        raise _wrong(f"{len(binary)} bytes are left after the last input.")
    return asked(entry, rows_of(tensors), _parameters(form), max_rows)


def _written(form: dict[str, Any], reply: Reply) -> Response:
    served = reply.arm.served
    wanted = {}
    for one in _objects(form, "outputs"):
        if not isinstance(one.get("name"), str):
            raise _wrong("An output must have a `name`.")
        wanted[one["name"]] = _parameters(one).get("binary_data")
    all_binary = _parameters(form).get("binary_data_output") is True
    outputs: list[dict[str, Any]] = []
    pieces: list[bytes] = []
    for tensor in answers_as_tensors(served, reply.answers, list(wanted)):
        told: dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype, "shape": [len(tensor.values)]}
        if wanted.get(tensor.name) is True or (wanted.get(tensor.name) is None and all_binary):
            pieces.append(packed(tensor))
            told["parameters"] = {"binary_data_size": len(pieces[-1])}
        else:
            told["data"] = tensor.values
        outputs.append(told)
    body: dict[str, Any] = {
        "model_name": served.name,
        "outputs": outputs,
        "parameters": {"identity": served.bundle.identity},
    }
    if served.version is not None:
        body["model_version"] = str(served.version)
    if isinstance(form.get("id"), str):
        body["id"] = form["id"]
    head = orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)
    if not pieces:
        return Response(head)
    return Response(b"".join([head, *pieces]), media_type="application/octet-stream", headers={HEADER: str(len(head))})


def _objects(form: dict[str, Any], name: str) -> list[dict[str, Any]]:
    found = form.get(name)
    if found is None:
        return []
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise _wrong(f"`{name}` must be a list of objects.")
    return found


def _parameters(form: dict[str, Any]) -> dict[str, Any]:
    found = form.get("parameters")
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise _wrong("`parameters` must be an object.")
    return found


def _wrong(detail: str) -> Problem:
    return Problem("wrong-shape", detail, _TODO)


def _json(data: dict[str, Any]) -> Response:
    return Response(orjson.dumps(data))
