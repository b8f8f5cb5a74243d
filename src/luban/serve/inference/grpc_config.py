"""Settings of the gRPC port (`serve.grpc`)."""

from __future__ import annotations

from pydantic import Field

from luban.catalog import Config


class GrpcConfig(Config):
    """The open inference protocol over gRPC, beside HTTP. Needs `pip install "luban[grpc]"`."""

    port: int | None = Field(None, ge=1, le=65_535)
    """Port to listen on, at the server's `host`; left out: no gRPC."""
    stop_timeout_s: float = Field(10.0, gt=0)
    """Time that calls have to finish when the server is told to stop."""
