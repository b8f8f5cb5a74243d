"""The open inference protocol (V2) over gRPC: GRPCInferenceService, beside HTTP, by the same desk.

Decided here: it runs on the server's event loop; an API key or a token comes as metadata (`authorization: Bearer
KEY`, or `x-api-key`); a call's deadline is the question's; a problem becomes the status that says the same, with its
kind in the trailing metadata `luban-problem`. What the service does not know of the protocol (repositories, shared
memory, streams) is UNIMPLEMENTED. A message is read once its caller was let in, so that nobody else's fills the
memory: to the library each call is a stream, of which the first message counts. Where the server speaks TLS, so does
this port. What a message says is read in `grpc_messages`. Source: KServe, "Open Inference Protocol V2".
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

from luban import __version__
from luban.catalog import need
from luban.errors import ServeError
from luban.serve.desk import Desk
from luban.serve.http.problems import MOST_TRIES, NotYet, Problem
from luban.serve.inference.grpc_messages import answered, parameters, rows
from luban.serve.inference.grpc_tls import credentials
from luban.serve.inference.proto import messages
from luban.serve.inference.v2 import EXTENSIONS, NAME, asked, check_ready, metadata, served_of, version_of
from luban.serve.question import Caller, Entry, Role
from luban.serve.watch.accounts import CLIENT_WENT_AWAY, Accounts, Called

if TYPE_CHECKING:
    from luban.serve.config import ServeConfig

LOG = logging.getLogger("luban.serve")
SERVICE = "inference.GRPCInferenceService"
PROTO = "open_inference.proto"
_STATUS = {
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    409: "FAILED_PRECONDITION",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_ROLES: dict[str, Role | None] = {
    "ModelReady": "viewer",
    "ServerMetadata": "viewer",
    "ModelMetadata": "viewer",
    "ModelInfer": "caller",
}
"""Those that are open to all, for probes, name nothing: see `v2.py`."""
_UNREAD = frozenset(("ServerLive", "ServerReady", "ServerMetadata"))
"""Calls whose message says nothing."""
_CREDENTIALS = ("authorization", "x-api-key")
"""Metadata that count for nothing where they come twice: whoever stands before may have looked at the other one."""
_HEAD_BYTES = 64 * 1024
OPEN_READS = 4
"""Messages of callers that need no key that are read at once; each may be as large as any."""
IDLE_MS = 600_000
"""Time after which a connection without a call is closed; clients open another."""
LetIn = Callable[[str, str], Caller]
"""Who sends `authorization` and `x-api-key`. Raises Problem."""
Call = Callable[..., Awaitable[Any]]


class GrpcService:
    """The service on its port. Raises MissingExtra where grpcio is not installed."""

    def __init__(self, desk: Desk, config: ServeConfig, let_in: LetIn, accounts: Accounts) -> None:
        self._grpc = need("grpc", "grpc")
        self._desk = desk
        self._config = config
        self._let_in = let_in
        self._accounts = accounts
        self._messages = messages(PROTO)
        self._server: Any = None
        self._open_reads = asyncio.Semaphore(OPEN_READS)

    async def start(self) -> None:
        """Listen. Raises ServeError where the port is taken."""
        from grpc import aio

        size = self._config.max_body_bytes + _HEAD_BYTES
        most = self._config.max_connections
        options = [
            ("grpc.max_receive_message_length", size),
            ("grpc.max_send_message_length", -1),
            ("grpc.max_allowed_incoming_connections", most),
            ("grpc.max_connection_idle_ms", IDLE_MS),
            ("grpc.server_handshake_timeout_ms", int(self._config.head_timeout_s * 1000)),
            # Only workers share a port: another server on it would take half of the calls, and nobody would know.
            ("grpc.so_reuseport", int(self._config.workers > 1)),
        ]
        self._server = aio.server(options=options, maximum_concurrent_rpcs=most)
        self._server.add_generic_rpc_handlers((self._handlers(),))
        host = f"[{self._config.host}]" if ":" in self._config.host else self._config.host
        address = f"{host}:{self._config.grpc.port}"
        try:
            tls = self._config.tls
            if tls is None:
                bound = self._server.add_insecure_port(address)
            else:
                bound = self._server.add_secure_port(address, credentials(self._grpc, tls))
        except RuntimeError:
            bound = 0
        if not bound:
            raise ServeError(f"Cannot listen on {address} for gRPC.", "Choose another port with `serve.grpc.port`.")
        await self._server.start()
        LOG.info("listening", extra={"fields": {"address": f"grpc://{address}"}})

    async def stop(self) -> None:
        """Let calls finish, within `stop_timeout_s`, then end."""
        if self._server is not None:
            await self._server.stop(self._config.grpc.stop_timeout_s)
            self._server = None

    def _handlers(self) -> Any:
        calls: dict[str, Call] = {
            "ServerLive": self._server_live,
            "ServerReady": self._server_ready,
            "ModelReady": self._model_ready,
            "ServerMetadata": self._server_metadata,
            "ModelMetadata": self._model_metadata,
            "ModelInfer": self._model_infer,
        }
        made = {
            name: self._grpc.stream_unary_rpc_method_handler(
                functools.partial(self._answer, name, call),
                request_deserializer=self._messages[f"{name}Request"].FromString,
                response_serializer=self._messages[f"{name}Response"].SerializeToString,
            )
            for name, call in calls.items()
        }
        return self._grpc.method_handlers_generic_handler(SERVICE, made)

    async def _answer(self, name: str, call: Call, sent: AsyncIterator[Any], context: Any) -> Any:
        """Run a call, and tell problems as this protocol does."""
        started, status, kind = time.perf_counter(), 200, ""
        told = _told(name, context)
        self._accounts.begin(told)
        try:
            return await self._tried(name, call, sent, context, told)
        except Problem as problem:
            status, kind = problem.status, problem.kind
            await self._refuse(problem, context)
        except asyncio.CancelledError:
            status = CLIENT_WENT_AWAY
            raise
        except Exception:
            status, kind = 500, "internal"
            LOG.exception("call failed", extra={"fields": {"path": told.path, "request_id": told.id}})
            await self._refuse(Problem("internal", "An error inside the server; it is in its log.", ""), context)
        finally:
            self._accounts.end(told, status, time.perf_counter() - started, kind)

    async def _tried(self, name: str, call: Call, sent: AsyncIterator[Any], context: Any, told: Called) -> Any:
        message = None
        for left in reversed(range(MOST_TRIES)):
            try:
                self._admit(name, told)
                if message is None and name not in _UNREAD:
                    message = await self._message(sent, name in _ROLES)
                return await call(message, context, told)
            except NotYet as error:
                if not left:
                    raise
                await error.ready()
        raise AssertionError("the last try gives an answer")

    async def _message(self, sent: AsyncIterator[Any], is_known: bool) -> Any:
        """The message of a call, read now. Raises Problem."""
        timeout_s = self._config.body_timeout_s
        try:
            async with asyncio.timeout(timeout_s), contextlib.nullcontext() if is_known else self._open_reads:
                async for message in sent:
                    return message
        except TimeoutError:
            detail = f"The message was not complete after {timeout_s:g} s."
            raise Problem("too-slow", detail, "Send fewer rows a call.") from None
        raise Problem("bad-request", "The call has no message.", "Send one.")

    async def _refuse(self, problem: Problem, context: Any) -> None:
        code = getattr(self._grpc.StatusCode, _STATUS.get(problem.status, "INVALID_ARGUMENT"))
        told = [("luban-problem", problem.kind), *((k, v) for k, v in problem.headers.items() if k == "retry-after")]
        await context.abort(code, f"{problem.detail} {problem.todo}".strip(), tuple(told))

    def _admit(self, name: str, told: Called) -> None:
        role = _ROLES.get(name)
        if role is None:
            return
        if not told.is_let_in:  # else the call is tried again, and a token for one use is used up
            told.caller = self._let_in(told.header("authorization"), told.header("x-api-key"))
            told.is_let_in = True
        if not told.caller.may(role):
            detail = f"This takes the role {role}, but {told.caller.name} is {told.caller.role}."
            raise Problem("not-allowed", detail, "")

    async def _server_live(self, message: Any, context: Any, told: Called) -> Any:
        return self._messages["ServerLiveResponse"](live=True)

    async def _server_ready(self, message: Any, context: Any, told: Called) -> Any:
        return self._messages["ServerReadyResponse"](ready=self._is_ready("", ""))

    async def _model_ready(self, message: Any, context: Any, told: Called) -> Any:
        is_ready = told.caller.may_ask(message.name) and self._is_ready(message.name, message.version)
        return self._messages["ModelReadyResponse"](ready=is_ready)

    def _is_ready(self, model: str, version: str) -> bool:
        try:
            check_ready(self._desk, model, version)
        except Problem:
            return False
        return True

    async def _server_metadata(self, message: Any, context: Any, told: Called) -> Any:
        return self._messages["ServerMetadataResponse"](name=NAME, version=__version__, extensions=EXTENSIONS)

    async def _model_metadata(self, message: Any, context: Any, told: Called) -> Any:
        model = self._entry(message.name, told, 0).model
        return self._messages["ModelMetadataResponse"](**metadata(await served_of(self._desk, model, message.version)))

    async def _model_infer(self, message: Any, context: Any, told: Called) -> Any:
        entry = self._entry(message.model_name, told, message.ByteSize())
        admission = self._desk.admit(entry)
        try:
            question = asked(entry, rows(message), parameters(message), self._config.max_rows)
            question.version = version_of(message.model_version, entry.model)
            question.deadline = min(question.deadline, _deadline(context))
            reply = await self._desk.ask(question)
            return answered(self._messages, message, question, reply)
        finally:
            admission.leave()

    def _entry(self, model: str, told: Called, num_bytes: int) -> Entry:
        name = self._desk.fleet.live(model).name
        if not told.caller.may_ask(name):
            raise Problem(
                "not-allowed", f"{told.caller.name} may not ask the model `{name}`.", "Ask for a key that may."
            )
        return Entry(told.caller, name, told.id, num_bytes, told.track)


def _told(name: str, context: Any) -> Called:
    pairs = [(key, value) for key, value in context.invocation_metadata() or () if isinstance(value, str)]
    sent = dict(pairs)
    if len(sent) < len(pairs):
        names = [key for key, _ in pairs]
        sent |= {key: "" for key in _CREDENTIALS if names.count(key) > 1}
    return Called(f"/{SERVICE}/{name}", f"/{SERVICE}/{name}", sent)


def _deadline(context: Any) -> float:
    left = context.time_remaining()
    return math.inf if left is None else time.monotonic() + float(left)
