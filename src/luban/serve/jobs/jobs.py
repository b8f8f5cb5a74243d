"""`/v1/jobs`: files and long lists of rows, answered in the background.

    POST /v1/jobs                a file as the body (CSV, TSV, JSON Lines, Parquet, Excel), or rows as JSON → 202
    GET  /v1/jobs                the caller's, newest first
    GET  /v1/jobs/{job}          status, progress, counts
    GET  /v1/jobs/{job}/result   the file, or the answers as JSON
    POST /v1/jobs/{job}/retry    a job that failed or was cancelled waits again
    DELETE /v1/jobs/{job}        cancel

A caller sees its own jobs, an operator all. The version that answers is the one that answers when the job is
handed in. With an `Idempotency-Key` a job may be handed in again without becoming two. The ledger is asked in
threads, never on the event loop; who does the work is `job_process.py`'s.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import orjson

from luban.errors import StoreError
from luban.serve.config import ServeConfig
from luban.serve.desk import Desk
from luban.serve.fleet.fleet import LATER
from luban.serve.http.asking import read_options
from luban.serve.http.problems import Problem
from luban.serve.http.routes import Route
from luban.serve.http.wire import Request, Response, TooLarge
from luban.serve.inference.v2 import served_of
from luban.serve.jobs import jobs_described as described
from luban.serve.jobs.job_files import (
    INPUT,
    KIND,
    MARK,
    OUTPUT,
    ROWS,
    Form,
    answered_in,
    body_in,
    form_named,
    form_of_type,
    options_in,
)
from luban.serve.jobs.job_files import Request as Work
from luban.serve.learning.clerk import Clerk
from luban.serve.question import Caller, Entry
from luban.serve.watch.figures import Sample

if TYPE_CHECKING:
    from luban.engine.jobs import Job, JobQueue
    from luban.serve.fleet.live import Served
    from luban.store.home import Home

LOG = logging.getLogger("luban.serve")
T = TypeVar("T")
MB = 1024 * 1024
LISTED = 100


class Jobs:
    """The handlers. `home` is the project's state; without one, and where they are off, jobs are refused."""

    def __init__(self, desk: Desk, config: ServeConfig, home: Home | None) -> None:
        self._desk = desk
        self._config = config.jobs
        self._home = home if config.jobs.enabled else None
        self._clerk = Clerk()

    def close(self) -> None:
        """End the threads."""
        self._clerk.close()

    def routes(self) -> list[Route]:
        """What this file answers."""
        return [
            Route("POST", "/v1/jobs", self.submit, "caller", described.SUBMIT),
            Route("GET", "/v1/jobs", self.listed, "caller", described.LISTED),
            Route("GET", "/v1/jobs/{job}", self.shown, "caller", described.SHOWN),
            Route("DELETE", "/v1/jobs/{job}", self.cancel, "caller", described.CANCEL),
            Route("GET", "/v1/jobs/{job}/result", self.result, "caller", described.RESULT),
            Route("POST", "/v1/jobs/{job}/retry", self.retry, "caller", described.RETRY),
        ]

    async def submit(self, request: Request) -> Response:
        """Hand in a file or rows."""
        queue, home = self._open()
        asked = form_of_type(request.header("content-type"))
        if request.header("content-encoding").lower() not in ("", "identity"):
            raise Problem("not-json-type", "The body must not be encoded.", "Send it without compression.")
        query = request.query
        answered = answered_in(asked, query.get("format", ""))
        id = _id_of(request)
        entry = self._entry(request, query.get("model", ""))
        admission = self._desk.admit(entry)
        try:
            await self._check_room(queue, request.caller)
            job = await self._submitted(request, queue, home, (id, asked, answered))
        finally:
            admission.leave()
        return _json(_told(job), 202, {"location": f"/v1/jobs/{job.id}"})

    async def _submitted(self, request: Request, queue: JobQueue, home: Home, form: tuple[str, Form, Form]) -> Job:
        id, asked, answered = form
        query = request.query
        with home.store.scratch("upload") as folder:
            path = folder / f"{INPUT}{asked.ending}"
            await self._receive(request, path)
            body = await _thread(lambda: body_in(path)) if asked.name == ROWS else {}
            model = self._entry(request, body.get("model") or query.get("model", "")).model
            served = await served_of(self._desk, model, _version(body.get("version", query.get("version", ""))))
            options = body.get("options") if asked.name == ROWS else options_in(query.get("options", ""))
            read_options(options, served.bundle.task.Options)
            number = _number(served)
            tree = await _thread(lambda: _kept(home, folder, id))
        work = Work(tree, model, number, asked.name, answered.name, options)
        actor, attempts = _actor(request.caller), self._config.max_attempts
        return await self._clerk.do(lambda: queue.submit(KIND, asdict(work), model, actor, attempts, id))

    async def listed(self, request: Request) -> Response:
        """The newest jobs."""
        queue, _ = self._open()
        status = request.query.get("status", "")
        if status and status not in described.STATUSES:
            raise Problem("bad-request", f"`status` must be one of {', '.join(described.STATUSES)}.", "Leave it out.")
        found = await self._clerk.do(lambda: queue.newest(_sees(request.caller), status or None, LISTED))  # type: ignore[arg-type]
        return _json({"jobs": [_told(job) for job in found]})

    async def shown(self, request: Request) -> Response:
        """One job: status, progress, counts."""
        job, _ = await self._find(request)
        return _json(_told(job))

    async def cancel(self, request: Request) -> Response:
        """Stop a job; one that has ended stays as it is."""
        job, queue = await self._find(request)
        found = await self._clerk.do(lambda: queue.cancel(job.id, request.caller.name))
        return _json(_told(found or job))

    async def retry(self, request: Request) -> Response:
        """Let a job that failed or was cancelled wait again."""
        job, queue = await self._find(request)
        if job.status not in ("failed", "cancelled"):
            raise Problem(
                "not-now", f"The job is {job.status}.", "Only one that failed or was cancelled is tried again."
            )
        found = await self._clerk.do(lambda: queue.retry(job.id, request.caller.name))
        return _json(_told(found or job))

    async def result(self, request: Request) -> Response:
        """What a job gave."""
        job, _ = await self._find(request)
        if job.status != "done":
            detail = f"The job is {job.status}." + (f" {job.error}" if job.error and job.status == "failed" else "")
            raise Problem("not-now", detail, "Ask for the result of one that is done.")
        _, home = self._open()
        form = form_named(job.request["answered"])
        folder = await _thread(lambda: home.store.fetch(job.result["tree"]))
        name = f"{OUTPUT}-{job.id[:8]}{form.ending}"
        headers = {"content-disposition": f'attachment; filename="{name}"'}
        return Response(b"", 200, form.media_types[0], headers, folder / f"{OUTPUT}{form.ending}")

    def samples(self) -> list[Sample]:
        """How many jobs there are, for the metrics. Looks into the ledger."""
        if self._home is None:
            return []
        from luban.engine.jobs import JobQueue

        counts = JobQueue(self._home.ledger).counts()
        return [Sample("luban_jobs", (status,), counts.get(status, 0)) for status in described.STATUSES]

    def _open(self) -> tuple[JobQueue, Home]:
        if self._home is None:
            detail = "This server takes no jobs: it serves a folder, which has no ledger, or serve.jobs.enabled is off."
            raise Problem("no-jobs", detail, "Serve a project, or use `luban predict` for files.")
        from luban.engine.jobs import JobQueue

        return JobQueue(self._home.ledger), self._home

    def _entry(self, request: Request, model: str) -> Entry:
        name = self._desk.fleet.live(model).name
        if not request.caller.may_ask(name):
            detail = f"{request.caller.name} may not ask the model `{name}`."
            raise Problem("not-allowed", detail, "Ask for a key that may.")
        length = request.header("content-length")
        return Entry(request.caller, name, request.id, int(length) if length.isdecimal() else 0)

    async def _check_room(self, queue: JobQueue, caller: Caller) -> None:
        counts = await self._clerk.do(lambda: queue.counts(_actor(caller)))
        under_way = counts.get("waiting", 0) + counts.get("running", 0)
        if under_way >= self._config.max_waiting:
            detail = f"{under_way} jobs of {caller.name} wait or run."
            raise Problem(
                "too-many-jobs", detail, "Wait until one has ended, or cancel one.", None, {"retry-after": "10"}
            )

    async def _find(self, request: Request) -> tuple[Job, JobQueue]:
        queue, _ = self._open()
        id = request.parts["job"]
        found = await self._clerk.do(lambda: queue.get(id))
        actor = _sees(request.caller)
        if found is None or found.kind != KIND or (actor is not None and found.actor != actor):
            raise Problem("no-such-job", f"There is no job `{id[:80]}`.", "See GET /v1/jobs.")
        return found, queue

    async def _receive(self, request: Request, path: Path) -> None:
        limit = int(self._config.max_file_mb * MB)
        closing = {"connection": "close"}
        try:
            with path.open("wb") as file:
                async for piece in request.chunks(limit, self._config.upload_timeout_s):
                    file.write(piece)
        except TooLarge:
            detail = f"The file must have at most {limit} bytes."
            raise Problem("too-large", detail, "Send it in parts.", {"max_bytes": limit}, closing) from None
        except TimeoutError:
            detail = f"The file was not complete after {self._config.upload_timeout_s:g} s."
            raise Problem("too-slow", detail, "Send it in parts.", None, closing) from None


def _kept(home: Home, folder: Path, id: str) -> str:
    # With the job's id in it no two jobs share a tree, so that one may be dropped without asking for others.
    (folder / MARK).write_text(id, "utf-8")
    return home.store.publish(folder)


def _id_of(request: Request) -> str:
    key = request.header("idempotency-key")
    if not key:
        return secrets.token_hex(16)
    return hashlib.sha256(f"{_actor(request.caller)}\n{key}".encode()).hexdigest()[:32]


def _actor(caller: Caller) -> str:
    return caller.id or caller.name


def _sees(caller: Caller) -> str | None:
    """Whose jobs a caller sees; None: everybody's."""
    return None if caller.may("operator") else _actor(caller)


def _version(found: Any) -> str:
    return "" if found is None else str(found)


def _number(served: Served) -> int:
    if served.version is None:
        detail = "This model is served from a folder; a job needs a released version, which can be found again."
        raise Problem("no-jobs", detail, "Release the model, or use `luban predict` for files.")
    return served.version


def _told(job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "model": job.model,
        "version": job.request["version"],
        "status": job.status,
        "progress": job.progress,
        "counts": dict(job.counts),
        "error": job.error,
        "attempts": job.attempts,
        "max_attempts": job.max_attempts,
        "cancelling": job.cancelling and job.status == "running",
        "created": job.created,
        "started": job.started,
        "ended": job.ended,
        "result": f"/v1/jobs/{job.id}/result" if job.status == "done" else None,
    }


async def _thread(work: Callable[[], T]) -> T:
    """What reads or writes files of the store, off the event loop. Raises Problem where it cannot be used."""
    try:
        return await asyncio.to_thread(work)
    except StoreError as error:
        LOG.warning("store cannot be used", extra={"fields": {"reason": str(error)}})
        raise Problem("no-ledger", "The store cannot be used now.", "Ask again in a while.", None, LATER) from error


def _json(data: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(data), status, headers=headers or {})
