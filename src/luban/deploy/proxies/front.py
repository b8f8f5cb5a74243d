"""What a proxy is told: where it listens, which servers it asks, and what it lets through.

Decided here: a request is asked again of another server only where that cannot do harm. Answering rows changes
nothing, so paths that do (`PURE`) are asked again whatever happened, although they are POSTs; of all others, only
requests that no server has seen. `/metrics` is not given to the outside. Knows how to write the
configurations of NGINX and HAProxy, and no target.
"""

from __future__ import annotations

from dataclasses import dataclass

from luban.deploy.base import Deployment, File
from luban.deploy.proxies.answers import ANSWERS
from luban.deploy.templates import render

PURE = (r"^/v1/(models/[^/]+/)?predict$", r"^/v2/models/[^/]+/(versions/[^/]+/)?infer$")
"""Paths whose requests change nothing, as regular expressions that NGINX and HAProxy read alike."""
GRPC = "/inference.GRPCInferenceService/"
"""Where all paths of the open inference protocol over gRPC begin. None of its calls changes anything."""
KEEP_ALIVE_S = 4
"""Proxies close idle connections to servers after this time: before the servers do (after 5 s), so that no
request is sent on a connection that is just being closed."""
DRAIN_S = 5
"""How long servers behind a proxy answer on after SIGTERM, where `serve.drain_s` says nothing."""
FILES = {"nginx": "nginx.conf", "haproxy": "haproxy.cfg"}


@dataclass(frozen=True)
class Front:
    """One proxy. `certificate` and `certificate_key` are paths on its machine; HAProxy looks for the key in the
    certificate's file, or beside it with `.key` at the end.

    `port` is that of TLS, or of plain HTTP where `tls` is false; `plain_port` sends on to it, 0 for none; with `ipv6`
    both listen for IPv6, too. `servers` are `host:port`; `grpc_servers` are the same servers' places for gRPC, none
    where it is off. `max_file_bytes` is the limit at /v1/jobs, 0 where no files are taken. `rate_per_s` and
    `max_connections` are those of one client's address, 0 for no limit. `user` is whom HAProxy becomes after it has
    opened its ports, "" for whom it was started as; `log` is NGINX's.
    """

    servers: tuple[str, ...]
    host: str
    port: int = 443
    plain_port: int = 80
    tls: bool = True
    ipv6: bool = False
    certificate: str = "/etc/luban/tls/cert.pem"
    certificate_key: str = "/etc/luban/tls/cert.pem.key"
    max_body_bytes: int = 8 * 1024 * 1024
    max_file_bytes: int = 0
    grpc_servers: tuple[str, ...] = ()
    head_timeout_s: int = 10
    body_timeout_s: int = 30
    answer_timeout_s: int = 60
    rate_per_s: int = 100
    max_connections: int = 100
    user: str = ""
    log: str = "/var/log/nginx/luban.log"


def proxy_file(proxy: str, kind: str, plan: Deployment, front: Front) -> File:
    """The configuration for `proxy` (nginx: what stands in its `http` block; haproxy: the whole file)."""
    name = FILES[proxy]
    values = {
        "front": front,
        "pure": PURE,
        "grpc": GRPC,
        "answers": ANSWERS,
        "keep_alive_s": KEEP_ALIVE_S,
        "tries": min(3, max(2, len(front.servers))),
    }
    return File(name, render(f"proxies/{name}", kind, plan, values))


def behind_proxy(plan: Deployment) -> dict[str, str]:
    """The server's settings as variables, with time to drain."""
    return {"LUBAN__SERVE__DRAIN_S": str(DRAIN_S), **plan.environment}


def stop_s(plan: Deployment) -> int:
    """Seconds that a server behind a proxy may take to end after SIGTERM."""
    return int(plan.serve.drain_s or DRAIN_S) + plan.serve.stop_timeout_s + 5
