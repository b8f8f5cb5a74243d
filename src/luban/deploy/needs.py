"""What servers need because of their settings: extras of Luban that are installed, and ports outside that they reach.

Decided here: whoever sets `serve.limits.redis` need not know that this takes an extra and a hole in a network's
policy; both follow from the setting. Servers that follow a ledger can read one in PostgreSQL, whatever this machine
has, since the same image runs where it has another (`LUBAN_LEDGER`). A setting that only the servers' environment
holds, such as an address with a password, cannot be seen here: `deploy.extras` names its extra. Knows no target.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from luban.catalog import Config

if TYPE_CHECKING:
    from luban.deploy.config import DeployConfig
    from luban.serve.config import ServeConfig

_PORTS = {"http": 80, "https": 443, "redis": 6379, "rediss": 6379}
_LEDGER_AND_STORE = (5432, 443)
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def extras_of(serve: ServeConfig, config: DeployConfig) -> tuple[str, ...]:
    """Extras that servers are installed with: those of `deploy.extras`, then those that settings ask for."""
    asked = {
        "grpc": serve.grpc.port is not None,
        "oidc": serve.auth.oidc is not None,
        "otel": bool(serve.trace.endpoint),
        "redis": serve.limits.redis is not None,
        "postgres": config.model_from == "project",
    }
    return tuple(dict.fromkeys((*config.extras, *(name for name, is_asked in asked.items() if is_asked))))


def ports_outside(serve: ServeConfig, config: DeployConfig) -> tuple[int, ...]:
    """TCP ports that servers must reach beyond themselves, sorted; none where they need nobody."""
    found = set(_LEDGER_AND_STORE if config.model_from == "project" else ())
    urls = [serve.trace.endpoint]
    if serve.limits.redis is not None:
        urls.append(serve.limits.redis.url)
    if serve.auth.oidc is not None:
        urls += [serve.auth.oidc.issuer, serve.auth.oidc.jwks_url or ""]
    for url in urls:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme)
        if parts.hostname and port and parts.hostname not in _LOOPBACK:
            found.add(port)
    return tuple(sorted(found))


def is_set(config: Config, path: str) -> bool:
    """Whether a setting is not its default.

    >>> from luban.serve.config import ServeConfig
    >>> is_set(ServeConfig(), "grpc.port"), is_set(ServeConfig(grpc={"port": 9000}), "grpc.port")
    (False, True)
    """
    for name in path.split("."):
        value = getattr(config, name)
        if value == type(config).model_fields[name].get_default(call_default_factory=True):
            return False
        config = value
    return True
