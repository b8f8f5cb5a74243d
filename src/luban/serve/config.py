"""Settings of the server (`serve:` in luban.yaml), and who may reach it.

Decided here: without an API key the server listens on the loopback interface only; `no_key` says
aloud that everybody who reaches the port may ask. Limits are there so that no client can take all
memory or all time. This module knows no socket and no bundle.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from luban.catalog import Config
from luban.serve.batches.batching_config import BatchingConfig
from luban.serve.fleet.cache_config import CacheConfig
from luban.serve.fleet.memory import MemoryConfig
from luban.serve.guards.auth import AuthConfig
from luban.serve.guards.breaker_config import BreakerConfig
from luban.serve.guards.limits_config import LimitsConfig
from luban.serve.guards.rows_config import RowsConfig
from luban.serve.http.tls import TlsConfig
from luban.serve.inference.grpc_config import GrpcConfig
from luban.serve.jobs.jobs_config import JobsConfig
from luban.serve.learning.learning_config import ReasonsConfig, RecordsConfig, ReviewConfig
from luban.serve.traffic.config import TrafficConfig
from luban.serve.watch.log import LogConfig
from luban.serve.watch.slo import SloConfig
from luban.serve.watch.tracing import TraceConfig


class ServeConfig(Config):
    """How a released model is served."""

    host: str = "127.0.0.1"
    """Address to listen on. Others than loopback need an API key, or `no_key`."""
    port: int = Field(8000, ge=0, le=65_535)
    """Port to listen on; 0 picks a free one."""
    alias: str = Field("champion", min_length=1)
    """The registry's alias that is followed: when it moves, the new version is served."""
    models: Literal["own", "all"] | Annotated[tuple[str, ...], Field(min_length=1)] = "own"
    """The models of the registry that are served: the project's own, all, or these names. The first is asked where
    none is named."""
    memory: MemoryConfig = Field(default_factory=MemoryConfig)
    cache: CacheConfig = Field(default_factory=CacheConfig)
    any_version: bool = False
    """Let every caller ask a version that answers nobody now, by its number; else that takes the role operator."""
    poll_s: float = Field(1.0, gt=0, le=3600)
    """Seconds between two looks at the alias."""
    no_key: bool = False
    """Answer everybody, on any address, although no API key is set; then nobody is more than a `caller`."""
    auth: AuthConfig = Field(default_factory=AuthConfig)
    tls: TlsConfig | None = None
    """Speak HTTPS; without it, leave TLS to a proxy in front."""
    limits: LimitsConfig = Field(default_factory=LimitsConfig)
    rows: RowsConfig = Field(default_factory=RowsConfig)
    breaker: BreakerConfig = Field(default_factory=BreakerConfig)
    open_metrics: bool = False
    """Give `/metrics` without the API key."""
    log: LogConfig = Field(default_factory=LogConfig)
    slo: SloConfig = Field(default_factory=SloConfig)
    grpc: GrpcConfig = Field(default_factory=GrpcConfig)
    jobs: JobsConfig = Field(default_factory=JobsConfig)
    trace: TraceConfig = Field(default_factory=TraceConfig)
    traffic: TrafficConfig = Field(default_factory=TrafficConfig)
    records: RecordsConfig = Field(default_factory=RecordsConfig)
    review: ReviewConfig = Field(default_factory=ReviewConfig)
    explain: ReasonsConfig = Field(default_factory=ReasonsConfig)
    max_body_bytes: int = Field(8 * 1024 * 1024, ge=1)
    """Largest request body."""
    max_rows: int = Field(10_000, ge=1)
    """Most rows of one request."""
    max_parts: int = Field(200, ge=1)
    """Most parts (files and fields) of one request that is a form."""
    workers: int = Field(1, ge=1, le=256)
    """Processes that answer, all on one listening socket; one that dies is started again. More than there are cores
    do not pay."""
    model_threads: Literal["auto"] | Annotated[int, Field(ge=1, le=256)] = "auto"
    """Threads of ONNX Runtime for each model; `auto`: the cores that this process may use, shared among the workers."""
    batching: BatchingConfig = Field(default_factory=BatchingConfig)
    num_threads: int = Field(2, ge=1, le=64)
    """Threads that answer larger requests; small ones are answered at once on the event loop."""
    max_waiting: int = Field(64, ge=1)
    """Larger requests that may be at work or wait for a thread; more are sent away with 503."""
    max_connections: int = Field(1000, ge=1)
    """Open connections; more are sent away with 503."""
    head_timeout_s: float = Field(10.0, gt=0)
    """Time a client has to send a request's head, from its connection or the head's first byte on."""
    body_timeout_s: float = Field(30.0, gt=0)
    """Time a client has to send a request's body."""
    drain_s: float = Field(0.0, ge=0, le=3600)
    """Time after SIGTERM in which the server still answers, while `/ready` says 503, so that proxies take their
    requests elsewhere first; then it stops."""
    stop_timeout_s: int = Field(10, ge=1)
    """Time that requests have to finish when the server is told to stop."""

    @model_validator(mode="after")
    def _outside_is_marked(self) -> ServeConfig:
        if self.review.outside and self.rows.outside != "mark":
            raise ValueError(f"`review.outside` needs `rows.outside` to be mark, but it is {self.rows.outside}")
        return self
