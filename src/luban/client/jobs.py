"""Jobs of a server: hand in a file or rows, wait, take the result."""

from __future__ import annotations

import json
import secrets
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from urllib.parse import quote

from luban.client.wire import Ask, Wire, as_json
from luban.errors import DataError, ServeError

MEDIA_TYPES = {
    ".csv": "text/csv",
    ".tsv": "text/tab-separated-values",
    ".jsonl": "application/x-ndjson",
    ".ndjson": "application/x-ndjson",
    ".parquet": "application/vnd.apache.parquet",
    ".pq": "application/vnd.apache.parquet",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
UPLOAD_S = 600.0


@dataclass(frozen=True)
class JobState:
    """A job as the server tells it. `progress` is a share from 0 to 1; times are ISO 8601 in UTC."""

    id: str
    model: str
    version: int
    status: str
    progress: float
    counts: Mapping[str, int]
    error: str | None
    attempts: int
    max_attempts: int
    cancelling: bool
    created: str
    started: str | None
    ended: str | None

    @property
    def has_ended(self) -> bool:
        """Whether nothing more happens to it unless somebody asks for another try."""
        return self.status in ("done", "failed", "cancelled")


class JobFailed(ServeError):
    """The job ended without a result; `job` is as it stands."""

    def __init__(self, job: JobState) -> None:
        super().__init__(f"The job {job.id} is {job.status}. {job.error or ''}".strip(), "Mend the file, or retry.")
        self.job = job


class JobsOfServer:
    """`Client.jobs`. All methods raise Refused, Unreachable."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def submit(
        self,
        source: str | Path | Sequence[Mapping[str, object]],
        options: Mapping[str, object] | None = None,
        *,
        model: str = "",
        version: int | None = None,
        format: str = "",
        sticky: str = "",
    ) -> JobState:
        """Hand in a file (its ending says what it is) or rows. `format`: csv, tsv, jsonl, parquet or xlsx.

        `sticky`: a column; rows that are equal in it are answered by one version of those that share the rows.

        Sent again where the answer is lost, it stays one job. Raises DataError where the file is of no known kind, or
        not there.
        """
        query = {"format": format} if format else {}
        once = {"Idempotency-Key": secrets.token_hex(16)}
        if not isinstance(source, str | Path):
            more = {"options": options, "model": model or None, "version": version, "sticky": sticky or None}
            told = {"rows": list(source), **{name: value for name, value in more.items() if value is not None}}
            headers = {**once, "Content-Type": "application/json"}
            body = as_json(told)
            return _job(self._wire.ask(Ask("POST", "/v1/jobs", query, body, None, headers), UPLOAD_S).json())
        path = Path(source)
        media_type = MEDIA_TYPES.get(path.suffix.lower())
        if media_type is None:
            raise DataError(f"The file must end in one of {', '.join(MEDIA_TYPES)}, but got {path.name}.")
        if not path.is_file():
            raise DataError(f"There is no file {path}.", "Name one that is there.")
        named = {"model": model, "version": "" if version is None else str(version), "sticky": sticky}
        query |= {name: value for name, value in named.items() if value}
        if options is not None:
            query["options"] = json.dumps(options)
        headers = {**once, "Content-Type": media_type}
        return _job(self._wire.ask(Ask("POST", "/v1/jobs", query, b"", path, headers), UPLOAD_S).json())

    def list(self, status: str = "") -> list[JobState]:
        """The newest jobs of this caller, newest first."""
        query = {"status": status} if status else {}
        return [_job(one) for one in self._wire.ask(Ask("GET", "/v1/jobs", query)).json()["jobs"]]

    def get(self, id: str) -> JobState:
        """One job."""
        return _job(self._wire.ask(Ask("GET", _path(id))).json())

    def wait(
        self,
        id: str,
        timeout_s: float = 3600.0,
        poll_s: float = 0.5,
        progress: Callable[[JobState], None] = lambda job: None,
    ) -> JobState:
        """The job once it is done; `progress` is told each time it is looked at.

        Raises JobFailed where it ends otherwise, TimeoutError where it has not ended in time.
        """
        end = time.monotonic() + timeout_s
        while True:
            job = self.get(id)
            progress(job)
            if job.status == "done":
                return job
            if job.has_ended:
                raise JobFailed(job)
            if time.monotonic() >= end:
                raise TimeoutError(f"The job {id} is still {job.status} after {timeout_s:g} s.")
            time.sleep(poll_s)

    def answers(self, id: str) -> Sequence[Mapping[str, Any]]:
        """The answers of a job that was handed in as rows."""
        found: Sequence[Mapping[str, Any]] = self._wire.ask(Ask("GET", f"{_path(id)}/result")).json()["answers"]
        return found

    def save(self, id: str, path: str | Path) -> Path:
        """The file that a job gave, written whole or not at all."""
        target = Path(path)
        beside = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
        try:
            with self._wire.stream(Ask("GET", f"{_path(id)}/result"), UPLOAD_S) as body, beside.open("wb") as file:
                shutil.copyfileobj(body, file)
            beside.replace(target)
        finally:
            beside.unlink(missing_ok=True)
        return target

    def cancel(self, id: str) -> JobState:
        """Stop a job; one that has ended stays as it is."""
        return _job(self._wire.ask(Ask("DELETE", _path(id))).json())

    def retry(self, id: str) -> JobState:
        """Let a job that failed or was cancelled wait again."""
        return _job(self._wire.ask(Ask("POST", f"{_path(id)}/retry", twice=False)).json())


def _path(id: str) -> str:
    return f"/v1/jobs/{quote(id, safe='')}"


def _job(found: dict[str, Any]) -> JobState:
    return JobState(**{one.name: found[one.name] for one in fields(JobState)})
