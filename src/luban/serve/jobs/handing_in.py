"""Handing a job in: `POST /v1/jobs`.

Decided here: who answers a job's rows is settled now, arms and weights as they are at this moment, so that a job
that is begun again, after a process was killed, gives each row the same answer. Its rows are counted now, too, and
taken from what the caller may ask (`serve.limits.rows`): a file that is too large for that is refused before anybody
works on it. With an `Idempotency-Key` a job may be handed in again without becoming two, and is counted once; another
file under the same key is refused (draft-ietf-httpapi-idempotency-key-header-07, 2.7).
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from luban.errors import ServeError, StoreError
from luban.serve.fleet.routing import Routing
from luban.serve.fleet.waking import LATER
from luban.serve.http.asking import read_options
from luban.serve.http.predicting import STICKY
from luban.serve.http.problems import NotYet, Problem
from luban.serve.http.wire import Request, TooLarge
from luban.serve.inference.v2 import version_of
from luban.serve.jobs.job_files import (
    INPUT,
    KIND,
    MARK,
    ROWS,
    Form,
    answered_in,
    body_in,
    form_of_type,
    no_reasons,
    options_in,
)
from luban.serve.jobs.job_files import Request as Work
from luban.serve.jobs.job_plans import planned
from luban.serve.jobs.row_counts import num_rows
from luban.serve.jobs.unpacked import is_larger_than
from luban.serve.question import Caller, Entry, Question

if TYPE_CHECKING:
    from luban.engine.jobs import Job, JobQueue
    from luban.serve.config import ServeConfig
    from luban.serve.desk import Desk
    from luban.serve.guards.limits import Limits
    from luban.serve.learning.clerk import Clerk
    from luban.store.home import Home

LOG = logging.getLogger("luban.serve")
T = TypeVar("T")
MB = 1024 * 1024
MOST_TRIES = 3
_SAME = ("tree", "model", "asked", "answered", "options", "sticky", "sticky_key")
"""What must be equal where a job is handed in again; who answers was settled the first time."""


@dataclass(frozen=True)
class Asked:
    """What the head of a request and, for rows as JSON, its body ask for."""

    model: str
    version: str
    options: Mapping[str, Any] | None
    sticky: str


class HandingIn:
    """Takes jobs."""

    def __init__(self, desk: Desk, config: ServeConfig, limits: Limits, clerk: Clerk) -> None:
        self._desk = desk
        self._config = config.jobs
        self._any_version = config.any_version
        self._max_json_bytes = config.max_body_bytes
        self._limits = limits
        self._clerk = clerk

    async def take(self, request: Request, queue: JobQueue, home: Home) -> Job:
        """The job that a request hands in, kept. Raises Problem."""
        asked = form_of_type(request.header("content-type"))
        if request.header("content-encoding").lower() not in ("", "identity"):
            raise Problem("not-json-type", "The body must not be encoded.", "Send it without compression.")
        answered = answered_in(asked, request.query.get("format", ""))
        if request.query.get("explain", "false") != "false":
            raise no_reasons()
        admission = self._desk.admit(self._entry(request, request.query.get("model", "")))
        try:
            await self._check_room(queue, request.caller)
            return await self._kept(request, queue, home, (asked, answered))
        finally:
            admission.leave()

    async def _kept(self, request: Request, queue: JobQueue, home: Home, forms: tuple[Form, Form]) -> Job:
        (form, answered), id = forms, _id_of(request)
        with home.store.scratch("upload") as folder:
            path = folder / f"{INPUT}{form.ending}"
            await self._receive(request, path, form)
            body = await in_thread(lambda: body_in(path)) if form.name == ROWS else None
            asked = _asked(request.query, body)
            entry = self._entry(request, asked.model)
            plan, version = await self._settled(entry, asked)
            await self._count(request, queue, path, id, entry)
            tree = await in_thread(lambda: _published(home, folder, id))
        work = Work(
            tree,
            entry.model,
            version,
            form.name,
            answered.name,
            None if asked.options is None else dict(asked.options),
            plan,
            asked.sticky,
            request.header(STICKY),
            plan is None and (self._any_version or request.caller.may("operator")),
        )
        actor, attempts = actor_of(request.caller), self._config.max_attempts
        job = await self._clerk.do(lambda: queue.submit(KIND, asdict(work), entry.model, actor, attempts, id))
        if any(job.request[name] != asdict(work)[name] for name in _SAME):
            if tree != job.request["tree"]:
                await in_thread(lambda: home.store.drop(tree))
            told = f"The job `{job.id}` was handed in with this Idempotency-Key, and asks for something else."
            raise Problem("key-was-used", told, "Send another key with another file, rows or options.")
        return job

    async def _settled(self, entry: Entry, asked: Asked) -> tuple[dict[str, Any] | None, int]:
        """Who answers: a plan and its first version, or the version that is named. Raises Problem."""
        number = version_of(asked.version, entry.model)
        routing = await self._routing(Question(entry, [], version=number))
        for arm in routing.arms:
            read_options(asked.options, arm.served.bundle.task.Options)
        lineup = self._desk.fleet.live(entry.model).lineup
        assert lineup is not None, "what is loaded was looked up"
        if number is not None:
            return None, number
        try:
            plan = planned(entry.model, lineup)
        except ServeError as error:
            raise Problem("no-jobs", error.message, "Release the model, or use `luban predict` for files.") from None
        return asdict(plan), int(plan.arms[0].version)

    async def _routing(self, question: Question) -> Routing:
        """The versions that would answer, loaded. Raises Problem where this caller may not ask them."""
        fleet = self._desk.fleet
        picked = fleet.pick(question)
        if picked is None:
            return await asyncio.shield(fleet.load(question))
        routing = fleet.live(question.entry.model).routing
        return routing if question.version is None and routing is not None else Routing((picked.arm,))

    async def _count(self, request: Request, queue: JobQueue, path: Path, id: str, entry: Entry) -> None:
        """Take the rows of a new job from what its caller may ask. Raises Problem."""
        known = request.header("idempotency-key") and await self._clerk.do(lambda: queue.get(id)) is not None
        if known or not self._limits.counts_rows:
            return
        count = await in_thread(lambda: num_rows(path))
        for _ in range(MOST_TRIES):
            try:
                self._limits.take_rows(request.caller, entry.model, count)
                return
            except NotYet as later:
                await later.ready()
        # Not raised as it came: the body was read, so the request cannot be begun anew.
        raise Problem("busy", "The limits of this caller are being looked up.", "Ask again.", None, LATER)

    def _entry(self, request: Request, model: str) -> Entry:
        name = self._desk.fleet.live(model).name
        if not request.caller.may_ask(name):
            detail = f"{request.caller.name} may not ask the model `{name}`."
            raise Problem("not-allowed", detail, "Ask for a key that may.")
        return Entry(request.caller, name, request.id, request.num_bytes)

    async def _check_room(self, queue: JobQueue, caller: Caller) -> None:
        counts = await self._clerk.do(lambda: queue.counts(actor_of(caller)))
        under_way = counts.get("waiting", 0) + counts.get("running", 0)
        if under_way >= self._config.max_waiting:
            detail = f"{under_way} jobs of {caller.name} wait or run."
            raise Problem(
                "too-many-jobs", detail, "Wait until one has ended, or cancel one.", None, {"retry-after": "10"}
            )

    async def _receive(self, request: Request, path: Path, form: Form) -> None:
        limit = int(self._config.max_file_mb * MB)
        if form.name == ROWS:
            limit = min(limit, self._max_json_bytes)
        closing = {"connection": "close"}
        try:
            with path.open("wb") as file:
                async for piece in request.chunks(limit, self._config.upload_timeout_s):
                    file.write(piece)
        except TooLarge:
            detail = f"The file must have at most {limit} bytes."
            todo = "Send it in parts, or as JSON Lines." if form.name == ROWS else "Send it in parts."
            raise Problem("too-large", detail, todo, {"max_bytes": limit}, closing) from None
        except TimeoutError:
            detail = f"The file was not complete after {self._config.upload_timeout_s:g} s."
            raise Problem("too-slow", detail, "Send it in parts.", None, closing) from None
        except OSError as error:
            raise _cannot_keep(error, closing) from error
        most = int(self._config.max_unpacked_mb * MB)
        if path.suffix == ".xlsx" and await in_thread(lambda: is_larger_than(path, most)):
            detail = f"The workbook must have at most {most} bytes unpacked."
            raise Problem("too-large", detail, "Send it in parts, or as CSV.", {"max_bytes": most})


def _asked(query: Mapping[str, str], body: Mapping[str, Any] | None) -> Asked:
    """What is asked for; members of a body come before the same in the query. Raises Problem."""
    if body is None:
        options = options_in(query.get("options", ""))
        return Asked(query.get("model", ""), query.get("version", ""), options, query.get("sticky", ""))
    version = body.get("version", query.get("version", ""))
    return Asked(
        body.get("model") or query.get("model", ""),
        "" if version is None else str(version),
        body.get("options"),
        body.get("sticky") or query.get("sticky", ""),
    )


def _published(home: Home, folder: Path, id: str) -> str:
    # With the job's id in it no two jobs share a tree, so that one may be dropped without asking for others.
    (folder / MARK).write_text(id, "utf-8")
    return home.store.publish(folder)


def _id_of(request: Request) -> str:
    key = request.header("idempotency-key")
    if not key:
        return secrets.token_hex(16)
    return hashlib.sha256(f"{actor_of(request.caller)}\n{key}".encode()).hexdigest()[:32]


def actor_of(caller: Caller) -> str:
    """Whose a job is."""
    return caller.id or caller.name


async def in_thread(work: Callable[[], T]) -> T:
    """What reads or writes files of the store, off the event loop. Raises Problem where it cannot be used."""
    try:
        return await asyncio.to_thread(work)
    except StoreError as error:
        raise _cannot_keep(error, {}) from error


def _cannot_keep(error: Exception, headers: Mapping[str, str]) -> Problem:
    LOG.warning("store cannot be used", extra={"fields": {"reason": str(error)}})
    more = {**LATER, **headers}
    return Problem("no-ledger", "The store cannot be used now.", "Ask again in a while.", None, more)
