"""Target `compose`: servers, a proxy, and what watches them, on one machine with Docker or Podman Compose.

Decided here: servers have fixed addresses in a network of their own, because NGINX looks names up once, when it
starts, and a container that is made anew would else be lost to it, and fixed hardware addresses, because the proxy's
kernel keeps those of before for up to a minute and asks nobody there; servers reach nothing outside, and nothing
outside but the proxy reaches them; secrets are files in `secrets/`, a folder that is for its owner alone. Figures
are read without a key within that network, so that Prometheus holds none; the proxy does not give them out.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import replace

from pydantic import Field, field_validator

from luban.catalog import fingerprint
from luban.deploy.base import Deployment, File, Target
from luban.deploy.container import PORT, Container, image_files, state_steps, wheel_steps
from luban.deploy.needs import ports_outside
from luban.deploy.proxies.front import FILES, behind_proxy, proxy_file, stop_s
from luban.deploy.proxies.target import ProxySettings, front_of, grpc_notes
from luban.deploy.templates import render
from luban.deploy.watch.alertmanager import NOBODY, AlertsConfig
from luban.deploy.watch.target import WHERE_DASHBOARDS, Monitoring
from luban.errors import ConfigError

KIND = "compose"
PLACES = {"nginx": "/etc/nginx/conf.d/default.conf", "haproxy": "/usr/local/etc/haproxy/haproxy.cfg"}
CERTIFICATE = "/run/secrets/cert.pem"
_IMAGE = r"^[a-z0-9._/:@-]*$"
_FIRST = 11


class Compose(Target):
    """Servers behind NGINX or HAProxy, Prometheus with rules, Alertmanager, Grafana; secrets as files."""

    names_host = True

    class Config(ProxySettings):
        """What runs beside the servers."""

        base: str = Field("", pattern=_IMAGE)
        """Base image of the servers, as of `container`."""
        subnet: str = "172.30.86.0/24"
        """Addresses of the servers' network; another one where this is taken."""
        proxy_image: str = Field("", pattern=_IMAGE)
        """Image of the proxy; by default NGINX 1.28 or HAProxy 3.2."""
        prometheus_image: str = Field("prom/prometheus:v3.5.0", pattern=_IMAGE)
        """Image of Prometheus."""
        alertmanager_image: str = Field("prom/alertmanager:v0.28.1", pattern=_IMAGE)
        """Image of Alertmanager."""
        alertmanager_port: int = Field(9093, ge=1, le=65_535)
        """Port of Alertmanager's page, on loopback alone."""
        alerts: AlertsConfig = Field(default_factory=AlertsConfig)
        """Who is told of alerts."""
        grafana_image: str = Field("grafana/grafana:12.2.0", pattern=_IMAGE)
        """Image of Grafana."""
        grafana_port: int = Field(3000, ge=1, le=65_535)
        """Port of Grafana, on loopback alone."""
        keep_days: int = Field(40, ge=1)
        """Days for which Prometheus keeps figures; alerts look back 30."""

        @field_validator("subnet")
        @classmethod
        def _is_private(cls, value: str) -> str:
            network = ipaddress.ip_network(value)
            if network.version != 4 or not network.is_private or network.prefixlen > 26:
                raise ValueError(f"must be a private IPv4 network of at least 64 addresses, but is {value}")
            return value

    def carries_bundle(self, plan: Deployment) -> bool:
        """Unless servers follow the ledger."""
        return plan.config.model_from == "bundle"

    def files(self, plan: Deployment) -> Sequence[File]:
        """compose.yaml, what the image is built from, and the configuration of proxy, Prometheus and Grafana."""
        servers = tuple(f"{address}:{PORT}" for address in self._addresses(plan))
        settings = {"certificate": CERTIFICATE, "certificate_key": f"{CERTIFICATE}.key"}
        grpc = tuple(f"{address}:{plan.serve.grpc.port}" for address in self._addresses(plan) if plan.serve.grpc.port)
        front = replace(front_of(plan, self.config.model_copy(update=settings), servers, grpc), log="/dev/stdout")
        image = Container.Config(base=self.config.base)
        mounted = [proxy_file(plan.config.proxy, KIND, plan, front), *self._watching(plan, servers)]
        values = {**self._values(plan), "hashes": _hashes(mounted)}
        return [
            File("compose.yaml", render("compose/compose.yaml", KIND, plan, values)),
            *mounted,
            *image_files(KIND, plan, image, self.carries_bundle(plan)),
        ]

    def _watching(self, plan: Deployment, servers: tuple[str, ...]) -> list[File]:
        settings = Monitoring.Config(
            servers=servers,
            prometheus="http://prometheus:9090",
            alertmanagers=("alertmanager:9093",),
            alerts=self.config.alerts,
            secrets_at="/run/secrets",
        )
        watching = Monitoring(settings)
        was, now = (f"`luban deploy {kind}`" for kind in (watching.kind or "monitoring", KIND))
        return [File(file.path, file.text.replace(was, now, 1)) for file in watching.files(plan)]

    def notes(self, plan: Deployment) -> Sequence[str]:
        """See Target."""
        silent = () if self.config.alerts.tells_somebody else (NOBODY,)
        return (*super().notes(plan), *grpc_notes(plan, self.config), *silent)

    def next_steps(self, plan: Deployment) -> Sequence[str]:
        """See Target."""
        servers = " ".join(f"luban-{number}" for number in range(1, len(self._addresses(plan)) + 1))
        certificate = (
            f"cp CERTIFICATE secrets/cert.pem; cp PRIVATE-KEY secrets/cert.pem.key     # of {plan.config.host}"
        )
        return (
            "(umask 077 && mkdir -p secrets)          # for its owner alone; in it, containers' users may read",
            "[ -e secrets/api_key ] || openssl rand -hex 32 >secrets/api_key; "
            "[ -e secrets/grafana_password ] || openssl rand -hex 16 >secrets/grafana_password",
            *((certificate,) if self.config.tls else ()),
            *(f"printf %s … >secrets/{name}          # for Alertmanager" for name in self.config.alerts.secrets),
            "chmod 444 secrets/*",
            *wheel_steps(plan),
            *(("docker compose build",) if plan.config.model_from == "project" else ()),
            *state_steps(plan, f"{plan.name.replace('.', '-')}_state", Container.Config().user),
            "docker compose up --build --detach --wait --remove-orphans",
            "# from the second time on, before that: "
            f"for one in {servers}; do docker compose up --build --detach --wait $one; done",
        )

    def _addresses(self, plan: Deployment) -> list[str]:
        network = ipaddress.ip_network(self.config.subnet)
        num = max(2, plan.config.replicas)
        if _FIRST + num >= network.num_addresses - 1:
            raise ConfigError(f"`subnet` {network} has no room for {num} servers.", "Take a larger one.")
        return [str(network[_FIRST + number]) for number in range(num)]

    def _values(self, plan: Deployment) -> dict[str, object]:
        proxy, config = plan.config.proxy, self.config
        default = {"nginx": "nginx:1.28-alpine", "haproxy": "haproxy:3.2-alpine"}[proxy]
        environment = {
            **behind_proxy(plan), "LUBAN__SERVE__HOST": "0.0.0.0", "LUBAN__SERVE__PORT": str(PORT),
            "LUBAN__SERVE__OPEN_METRICS": "true", "LUBAN_API_KEY_FILE": "/run/secrets/api_key",
        }  # fmt: skip
        return {
            "config": config, "addresses": {one: hardware_address(one) for one in self._addresses(plan)},
            "port": PORT, "environment": environment, "stop_s": stop_s(plan),
            "follows": plan.config.model_from == "project",
            "reaches_outside": bool(ports_outside(plan.serve, plan.config)),
            "proxy_image": config.proxy_image or default, "proxy_file": FILES[proxy], "proxy_at": PLACES[proxy],
            "published": [config.port, *([config.plain_port] if config.tls and config.plain_port else [])],
            "dashboards_at": WHERE_DASHBOARDS,
        }  # fmt: skip


_READ_BY = {
    "proxy": tuple(FILES.values()), "prometheus": ("prometheus.yml", "rules/"), "alertmanager": ("alertmanager.yml",),
    "grafana": ("grafana/",),
}  # fmt: skip


def _hashes(files: Sequence[File]) -> dict[str, str]:
    """What each service reads, as a hash: a container is made anew for another label, not for another file."""
    texts = {service: [one.text for one in files if one.path.startswith(paths)] for service, paths in _READ_BY.items()}
    return {service: f"sha-{fingerprint(found)[:16]}" for service, found in texts.items()}


def hardware_address(address: str) -> str:
    """A MAC address for an IPv4 address, locally administered (IEEE 802), as Docker made them before version 28.

    >>> hardware_address("172.30.86.11")
    '02:42:ac:1e:56:0b'
    """
    return "02:42:" + ipaddress.IPv4Address(address).packed.hex(":")
