"""The work of a job of the kind `predict`: a file in the store, answered into another file in the store.

The result is published under the hash of its content before the job ends, so a job that is begun again after a
crash gives the same result. The same versions answer however often it is begun: who answers was settled when the job
was handed in; but for one that was taken back, with which it begins anew (`job_plans.py`). Knows no HTTP.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from luban.catalog import canonical
from luban.engine.claims import Later
from luban.errors import DataError, LubanError, StoreError
from luban.release.registry import Registry
from luban.serve.jobs.batch import Counts, answer_file
from luban.serve.jobs.job_desk import JobDesk, background
from luban.serve.jobs.job_figures import JobFigures
from luban.serve.jobs.job_files import INPUT, MARK, OUTPUT, ROWS, Request, form_named
from luban.serve.jobs.job_plans import TakenBack, assigned, forget_answers
from luban.serve.jobs.job_rows import JobRows
from luban.serve.jobs.row_counts import num_rows

if TYPE_CHECKING:
    from luban.engine.jobs import Claim, Job
    from luban.serve.config import ServeConfig
    from luban.serve.question import Answer
    from luban.store.home import Home

LOG = logging.getLogger("luban.jobs")
BATCH_ROWS = 256
Report = Callable[[int, int], None]
"""Told how many rows were answered, and how many of them with an error."""


@dataclass(frozen=True)
class Result:
    """What a job gave. `tree` holds the file `answers.*`; counts and names are those of `batch.Counts`."""

    tree: str
    rows: int
    errors: int
    renamed: dict[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    version: int | None = None
    """The first that answered."""


class PredictWork:
    """The handler. Keeps the desk of the job before, for the next is often answered by the same versions."""

    def __init__(self, home: Home, config: ServeConfig, figures: JobFigures | None = None) -> None:
        self._home = home
        self._config = background(config)
        self._figures = figures
        self._opened: tuple[bytes, JobDesk] | None = None
        self.num_hung = 0
        """Threads that were given up because the model does not end: only a new process helps."""

    def __call__(self, job: Job, claim: Claim) -> object:
        """Answer the job's file. Raises Cancelled, Later, LubanError where the file cannot be answered."""
        try:
            while True:
                try:
                    return self._done(job, claim)
                except TakenBack:
                    LOG.info("job begins anew: a version was taken back", extra={"fields": {"job": job.id}})
        except Later:
            # The next attempt begins with a breaker that is closed: else it would only find this one open.
            self.num_hung += 0 if self._opened is None else self._opened[1].num_hung
            self.close()
            raise

    def _done(self, job: Job, claim: Claim) -> object:
        began = time.monotonic()
        request = Request(**job.request)
        folder = self._home.store.fetch(request.tree)
        path = folder / f"{INPUT}{form_named(request.asked).ending}"
        desk, total = self.desk(request, job), max(1, num_rows(path))
        said = (0, 0)

        def report(rows: int, errors: int) -> None:
            nonlocal said
            said = rows, errors
            self._tell(desk)
            claim.report(min(rows / total, 0.99), {"rows": rows, "errors": errors})

        report(0, 0)
        rows = JobRows(desk, job, request, lambda: report(*said))
        try:
            with self._home.store.scratch("job") as scratch:
                counts = _answer(rows, request, path, scratch, report)
                desk.write(lambda: report(*said))
                desk.check(lambda: report(*said))
                (scratch / MARK).write_text(job.id, "utf-8")
                tree = self._home.store.publish(scratch)
        except StoreError:
            raise
        except LubanError as error:
            # Where the store keeps the file is no caller's business.
            told = str(error).replace(f"{folder}/", "").replace(str(folder), "the file")
            raise DataError(told) from error
        finally:
            self._tell(desk, at_once=True)
        claim.report(1.0, {"rows": counts.num_rows, "errors": counts.num_errors})
        fields = {"job": job.id, "model": job.model, "rows": counts.num_rows, "errors": counts.num_errors}
        LOG.info("job done", extra={"fields": {**fields, "duration_ns": round((time.monotonic() - began) * 1e9)}})
        figures = (counts.num_rows, counts.num_errors, counts.renamed, counts.missing, counts.unread)
        return asdict(Result(tree, *figures, rows.version))

    def desk(self, request: Request, job: Job) -> JobDesk:
        """The desk for a job's versions. Raises Later, LubanError where they cannot be had or loaded."""
        who = assigned(request, Registry(self._home.ledger, self._home.store), self._config.alias)
        key = canonical([request.model, request.version, asdict(who.plan), dict(who.instead), sorted(who.watched)])
        if self._opened is None or self._opened[0] != key:
            self.close()
            self._opened = key, JobDesk.open(request, self._config, self._home, who)
        forget_answers(self._home.ledger, request.model, job.id, who.gone)
        return self._opened[1]

    def _tell(self, desk: JobDesk, at_once: bool = False) -> None:
        if self._figures is not None:
            self._figures.write(desk.office.metrics, at_once)

    def close(self) -> None:
        """Write what waits, and give all back."""
        if self._opened is not None:
            (_, desk), self._opened = self._opened, None
            desk.close()


def _answer(rows: JobRows, request: Request, path: Path, folder: Path, report: Report) -> Counts:
    from luban.data.sinks import open_sink
    from luban.data.sources import open_path

    output = folder / f"{OUTPUT}{form_named(request.answered).ending}"
    if request.asked == ROWS:
        return _answer_rows(rows, request, path, output, report)
    return answer_file(
        rows,
        open_path(str(path)),
        open_sink(str(output)),
        str(output),
        BATCH_ROWS,
        lambda counts: report(counts.num_rows, counts.num_errors),
    )


def _answer_rows(rows: JobRows, request: Request, path: Path, output: Path, report: Report) -> Counts:
    """Answer a body like that of /v1/predict by a body like its response."""
    asked = orjson.loads(path.read_bytes())["rows"]
    answers: list[Answer] = []
    num_errors = 0
    for start in range(0, len(asked), BATCH_ROWS):
        found = rows.ask(asked[start : start + BATCH_ROWS])
        num_errors += sum(1 for one in found if "error" in one)
        answers += found
        report(len(answers), num_errors)
    whole = {"model": request.model, "version": rows.version, "identity": rows.identity, "answers": answers}
    output.write_bytes(orjson.dumps(whole, option=orjson.OPT_SERIALIZE_NUMPY))
    return Counts(len(asked), num_errors)
