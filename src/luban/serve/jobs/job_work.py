"""The work of a job of the kind `predict`: a file in the store, answered into another file in the store.

The result is published under the hash of its content before the job ends, so a job that is begun again after a
crash gives the same result. The same version answers however often it is begun: it was chosen when the job was
handed in. Knows no HTTP.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from luban.errors import DataError, LubanError, StoreError
from luban.release.registry import Registry
from luban.serve.http.asking import fault
from luban.serve.jobs.batch import Counts, predict_file
from luban.serve.jobs.job_files import INPUT, MARK, OUTPUT, ROWS, Request, form_named

if TYPE_CHECKING:
    from luban.bundle.bundle import Bundle
    from luban.engine.jobs import Claim, Job
    from luban.store.home import Home
    from luban.tasks.base import TaskOptions

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


class PredictWork:
    """The handler. Keeps the bundle that it asked last."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._registry = Registry(home.ledger, home.store)
        self._loaded: tuple[tuple[str, int], Bundle] | None = None

    def __call__(self, job: Job, claim: Claim) -> object:
        """Answer the job's file. Raises Cancelled, LubanError where the file cannot be answered."""
        request = Request(**job.request)
        folder = self._home.store.fetch(request.tree)
        path = folder / f"{INPUT}{form_named(request.asked).ending}"
        total = max(1, _estimate(path))
        bundle = self._bundle(request.model, request.version)

        def report(rows: int, errors: int) -> None:
            claim.report(min(rows / total, 0.99), {"rows": rows, "errors": errors})

        report(0, 0)
        try:
            with self._home.store.scratch("job") as scratch:
                counts = _answer(bundle, request, path, scratch, report)
                (scratch / MARK).write_text(job.id, "utf-8")
                tree = self._home.store.publish(scratch)
        except StoreError:
            raise
        except LubanError as error:
            # Where the store keeps the file is no caller's business.
            told = str(error).replace(f"{folder}/", "").replace(str(folder), "the file")
            raise DataError(told) from error
        claim.report(1.0, {"rows": counts.num_rows, "errors": counts.num_errors})
        return asdict(Result(tree, counts.num_rows, counts.num_errors, counts.renamed, counts.missing, counts.unread))

    def _bundle(self, model: str, version: int) -> Bundle:
        from luban.bundle.bundle import Bundle

        if self._loaded is None or self._loaded[0] != (model, version):
            self._loaded = None
            folder = self._home.store.fetch(self._registry.resolve(model, version).tree)
            self._loaded = (model, version), Bundle.load(folder)
        return self._loaded[1]


def _answer(bundle: Bundle, request: Request, path: Path, folder: Path, report: Report) -> Counts:
    from luban.data.sinks import open_sink
    from luban.data.sources import open_path

    options = None if request.options is None else bundle.task.Options.model_validate(request.options)
    output = folder / f"{OUTPUT}{form_named(request.answered).ending}"
    if request.asked == ROWS:
        return _answer_rows(bundle, request, options, path, output, report)
    return predict_file(
        bundle,
        open_path(str(path)),
        open_sink(str(output)),
        str(output),
        options,
        BATCH_ROWS,
        lambda counts: report(counts.num_rows, counts.num_errors),
    )


def _answer_rows(
    bundle: Bundle, request: Request, options: TaskOptions | None, path: Path, output: Path, report: Report
) -> Counts:
    """Answer a body like that of /v1/predict by a body like its response."""
    import pyarrow as pa

    rows = orjson.loads(path.read_bytes())["rows"]
    features = bundle.preprocess.features
    columns = frozenset(column.name for column in bundle.schema.columns)
    lists = frozenset(n for n in columns if n not in features or pa.types.is_list(features[n].storage))
    answers: list[dict[str, Any]] = []
    num_errors = 0
    for start in range(0, len(rows), BATCH_ROWS):
        batch = rows[start : start + BATCH_ROWS]
        faults = [fault(row, columns, lists) for row in batch]
        good = [row for row, reason in zip(batch, faults, strict=True) if reason is None]
        answered = iter(bundle.predict(good, options).rows() if good else [])
        found = [next(answered) if reason is None else {"error": reason} for reason in faults]
        num_errors += sum(1 for one in found if "error" in one)
        answers += found
        report(len(answers), num_errors)
    whole = {"model": request.model, "version": request.version, "identity": bundle.identity, "answers": answers}
    output.write_bytes(orjson.dumps(whole, option=orjson.OPT_SERIALIZE_NUMPY))
    return Counts(len(rows), num_errors)


def _estimate(path: Path) -> int:
    """About how many rows a file has, for the share that is done; 0 where it cannot be said soon."""
    if path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            return int(pq.read_metadata(path).num_rows)
        except (pa.ArrowException, OSError):
            return 0  # what is wrong with it is said when it is read
    if path.suffix == ".json":
        return len(orjson.loads(path.read_bytes())["rows"])
    with path.open("rb") as file:
        return sum(piece.count(b"\n") for piece in iter(lambda: file.read(1 << 20), b""))
