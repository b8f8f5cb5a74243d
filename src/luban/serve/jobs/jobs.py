"""`/v1/jobs`: files and long lists of rows, answered in the background.

    POST /v1/jobs                a file as the body (CSV, TSV, JSON Lines, Parquet, Excel), or rows as JSON → 202
    GET  /v1/jobs                the caller's, newest first
    GET  /v1/jobs/{job}          status, progress, counts
    GET  /v1/jobs/{job}/result   the file, or the answers as JSON
    POST /v1/jobs/{job}/retry    a job that failed or was cancelled waits again
    DELETE /v1/jobs/{job}        cancel

A caller sees its own jobs, an operator all, both of the models that they may ask. How one is handed in is
`handing_in.py`'s, who does the work is `job_process.py`'s. The ledger is asked in threads, never on the event loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from luban.serve.config import ServeConfig
from luban.serve.desk import Desk
from luban.serve.guards.limits import Limits
from luban.serve.http.problems import Problem
from luban.serve.http.routes import Route
from luban.serve.http.wire import Request, Response
from luban.serve.jobs import jobs_described as described
from luban.serve.jobs.handing_in import HandingIn, actor_of, in_thread
from luban.serve.jobs.job_files import KIND, OUTPUT, form_named
from luban.serve.learning.clerk import Clerk
from luban.serve.question import Caller
from luban.serve.watch.figures import Sample

if TYPE_CHECKING:
    from luban.engine.jobs import Job, JobQueue
    from luban.store.home import Home

LISTED = 100


class Jobs:
    """The handlers. `home` is the project's state; without one, and where they are off, jobs are refused."""

    def __init__(self, desk: Desk, config: ServeConfig, home: Home | None, limits: Limits) -> None:
        self._home = home if config.jobs.enabled else None
        self._clerk = Clerk()
        self._handing_in = HandingIn(desk, config, limits, self._clerk)

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
        job = await self._handing_in.take(request, queue, home)
        return _json(_told(job), 202, {"location": f"/v1/jobs/{job.id}"})

    async def listed(self, request: Request) -> Response:
        """The newest jobs."""
        queue, _ = self._open()
        status = request.query.get("status", "")
        if status and status not in described.STATUSES:
            raise Problem("bad-request", f"`status` must be one of {', '.join(described.STATUSES)}.", "Leave it out.")
        found = await self._clerk.do(lambda: queue.newest(_sees(request.caller), status or None, LISTED))  # type: ignore[arg-type]
        return _json({"jobs": [_told(job) for job in found if request.caller.may_ask(str(job.model))]})

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
        folder = await in_thread(lambda: home.store.fetch(job.result["tree"]))
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

    async def _find(self, request: Request) -> tuple[Job, JobQueue]:
        queue, _ = self._open()
        id = request.parts["job"]
        found = await self._clerk.do(lambda: queue.get(id))
        actor = _sees(request.caller)
        known = found is not None and found.kind == KIND and (actor is None or found.actor == actor)
        if found is None or not known or not request.caller.may_ask(str(found.model)):
            raise Problem("no-such-job", f"There is no job `{id[:80]}`.", "See GET /v1/jobs.")
        return found, queue


def _sees(caller: Caller) -> str | None:
    """Whose jobs a caller sees; None: everybody's."""
    return None if caller.may("operator") else actor_of(caller)


def _told(job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "model": job.model,
        "version": (job.result or {}).get("version") or job.request["version"],
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


def _json(data: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(data), status, headers=headers or {})
