"""Target `proxy`: the configuration of NGINX or HAProxy alone, for servers wherever they run."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pydantic import Field, field_validator, model_validator

from luban.catalog import Config as Settings
from luban.deploy.base import Deployment, File, Target
from luban.deploy.proxies.front import FILES, Front, behind_proxy, proxy_file
from luban.errors import ConfigError

KIND = "proxy"
CHECKS = {"nginx": "nginx -t", "haproxy": "haproxy -c -f haproxy.cfg"}


class ProxySettings(Settings):
    """What a proxy before the servers does, beside the program that is chosen by `deploy.proxy`."""

    port: int = Field(443, ge=1, le=65_535)
    """Port that clients reach."""
    plain_port: int = Field(80, ge=0, le=65_535)
    """Port for plain HTTP that sends on to TLS; 0 for none."""
    ipv6: bool = True
    """Listen for IPv6, too; false where the machine's kernel has none."""
    tls: bool = True
    """false: plain HTTP, because TLS ends before this proxy."""
    certificate: str = Field("/etc/luban/tls/cert.pem", pattern=r"^[A-Za-z0-9_./-]+$")
    """Certificate with its chain, on the proxy's machine."""
    certificate_key: str = Field("/etc/luban/tls/cert.pem.key", pattern=r"^[A-Za-z0-9_./-]+$")
    """Private key, on the proxy's machine; for HAProxy the certificate's path with `.key` at its end."""
    answer_timeout_s: int = Field(60, ge=1)
    """Time that a server has to answer."""
    rate_per_s: int = Field(100, ge=0)
    """Requests a second that one address may send, ten times as many at once; 0 for no limit."""
    max_connections: int = Field(100, ge=0)
    """Connections that one address may hold; 0 for no limit."""


class ProxyConfig(ProxySettings):
    """A proxy alone."""

    servers: tuple[str, ...] = ("127.0.0.1:8001", "127.0.0.1:8002")
    """Servers, each `host:port`."""
    grpc_servers: tuple[str, ...] = ()
    """The same servers' ports for gRPC, in the same order; empty for no gRPC."""

    @field_validator("servers", "grpc_servers")
    @classmethod
    def _places(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for server in value:
            host, _, port = server.rpartition(":")
            if not host or not port.isdecimal() or any(mark in server for mark in " ;{}#\n\"'"):
                raise ValueError(f"a server must be `host:port`, but one is {server!r}")
        return value

    @model_validator(mode="after")
    def _fit(self) -> ProxyConfig:
        if not self.servers:
            raise ValueError("there must be at least one server")
        if self.grpc_servers and len(self.grpc_servers) != len(self.servers):
            raise ValueError("`grpc_servers` must be as many as `servers`")
        return self


def front_of(
    plan: Deployment, config: ProxySettings, servers: tuple[str, ...], grpc_servers: tuple[str, ...] = ()
) -> Front:
    """What the proxy before `servers` is told, the server's own limits included.

    Raises ConfigError where the servers would speak TLS themselves.
    """
    serve = plan.serve
    if serve.tls is not None:
        raise ConfigError(
            "`serve.tls` must not be set here: TLS ends at the proxy, which asks the servers in plain HTTP.",
            "Take it out; the proxy's certificate is a setting of the target.",
        )
    if plan.config.proxy == "haproxy" and config.tls and config.certificate_key != f"{config.certificate}.key":
        raise ConfigError(
            f"`certificate_key` must be {config.certificate}.key, where HAProxy looks for it, but got "
            f"{config.certificate_key}.",
            "Name it so; it is not read where the certificate's file holds the key, too.",
        )
    files = serve.jobs.enabled and plan.config.model_from == "project"
    return Front(
        servers=servers,
        host=plan.config.host,
        port=config.port,
        plain_port=config.plain_port if config.tls else 0,
        tls=config.tls,
        ipv6=config.ipv6,
        certificate=config.certificate,
        certificate_key=config.certificate_key,
        max_body_bytes=serve.max_body_bytes,
        max_file_bytes=int(serve.jobs.max_file_mb * 2**20) if files else 0,
        grpc_servers=grpc_servers,
        head_timeout_s=math.ceil(serve.head_timeout_s),
        body_timeout_s=math.ceil(serve.body_timeout_s),
        answer_timeout_s=config.answer_timeout_s,
        rate_per_s=config.rate_per_s,
        max_connections=config.max_connections,
    )


def grpc_notes(plan: Deployment, config: ProxySettings) -> tuple[str, ...]:
    """What becomes of gRPC where the proxy cannot pass it on."""
    if plan.serve.grpc.port is None or config.tls or plan.config.proxy != "nginx":
        return ()
    return (
        "gRPC does not pass this proxy: without TLS, NGINX cannot tell HTTP/2. Set `tls`, or `deploy.proxy: haproxy`.",
    )


class Proxy(Target):
    """NGINX or HAProxy before servers: TLS, retries, health, limits, and the server's settings that go with it."""

    names_bundle = False
    names_host = True

    class Config(ProxyConfig):
        """A proxy alone."""

    def files(self, plan: Deployment) -> Sequence[File]:
        """The proxy's configuration, and the variables for the servers."""
        from luban.deploy.templates import header

        lines = "".join(f"{name}={value}\n" for name, value in sorted(behind_proxy(plan).items()))
        return (
            proxy_file(
                plan.config.proxy,
                KIND,
                plan,
                front_of(plan, self.config, self.config.servers, self.config.grpc_servers),
            ),
            File("luban.env", f"{header(KIND, plan)}\n# Variables for `luban serve`.\n{lines}"),
        )

    def notes(self, plan: Deployment) -> Sequence[str]:
        """See Target."""
        found = (*super().notes(plan), *grpc_notes(plan, self.config))
        if plan.serve.grpc.port is not None and not self.config.grpc_servers:
            return (*found, "`serve.grpc.port` is set, but the proxy knows no `grpc_servers`: gRPC does not pass it.")
        return found

    def next_steps(self, plan: Deployment) -> Sequence[str]:
        """See Target."""
        name = FILES[plan.config.proxy]
        where = {"nginx": "/etc/nginx/conf.d/luban.conf", "haproxy": "/etc/haproxy/haproxy.cfg"}[plan.config.proxy]
        return (
            f"Put {name} to {where} on the proxy's machine, the certificate to {self.config.certificate}.",
            f"{CHECKS[plan.config.proxy]} && systemctl reload {plan.config.proxy}",
            "Start the servers with the variables in luban.env.",
        )
