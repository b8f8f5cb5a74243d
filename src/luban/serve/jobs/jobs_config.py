"""Settings of long work (`serve.jobs`)."""

from __future__ import annotations

from pydantic import Field

from luban.catalog import Config


class JobsConfig(Config):
    """Files that are answered in the background: `/v1/jobs`. Needs a project, for jobs are kept in its ledger."""

    enabled: bool = True
    """Take jobs, and do them."""
    workers: int = Field(1, ge=0, le=32)
    """Processes on this machine that do jobs, started when there is one, at low priority; 0: another machine's do."""
    nice: int = Field(10, ge=0, le=19)
    """How far those processes stand back where cores are short: 10 is a ninth of a server's share, 19 a sixtieth, 0
    the same."""
    max_attempts: int = Field(3, ge=1, le=100)
    """How often a job is begun before it counts as failed."""
    keep_days: float = Field(7.0, gt=0, le=3650)
    """Days after its end in which a job, its file and its result are kept."""
    max_file_mb: float = Field(100.0, gt=0)
    """Largest file. Rows as JSON are held in memory: for them `serve.max_body_bytes` is the bound, too."""
    max_unpacked_mb: float = Field(500.0, gt=0)
    """Largest workbook (.xlsx) once it is unpacked; reading one takes about five times as much memory."""
    max_waiting: int = Field(20, ge=1)
    """Jobs of one caller that may wait or run; more are sent away with 429."""
    upload_timeout_s: float = Field(300.0, gt=0)
    """Time a client has to send a file."""
    idle_s: float = Field(30.0, ge=0)
    """Seconds that such a process waits for another job before it ends."""
    poll_s: float = Field(1.0, gt=0, le=60)
    """Seconds between two looks for jobs."""
