"""TLS of the gRPC port: the server's own certificate and key, which are read again when they change.

Knows no call.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from luban.serve.http.tls import TlsConfig

LOG = logging.getLogger("luban.serve")


def credentials(grpc: Any, tls: TlsConfig) -> Any:
    """The server's certificate as gRPC has it; looked at again with each connection."""

    def read() -> Any:
        authorities = None if tls.client_ca is None else tls.client_ca.read_bytes()
        pair = (tls.key.read_bytes(), tls.cert.read_bytes())
        return grpc.ssl_server_certificate_configuration([pair], root_certificates=authorities)

    def stamps() -> tuple[int, ...]:
        return tuple(path.stat().st_mtime_ns for path in (tls.key, tls.cert))

    seen = stamps()

    def renewed() -> Any:
        nonlocal seen
        try:
            now = stamps()
            if now == seen:
                return None  # what was given before stays
            found, seen = read(), now
        except OSError as error:
            LOG.error("certificate not read", extra={"fields": {"reason": str(error)}})
            return None
        return found

    return grpc.dynamic_ssl_server_credentials(read(), renewed, tls.client_ca is not None)
