"""Target `vm`: one machine with systemd, Debian's like; servers side by side behind a proxy, with backups.

Decided here: at least two servers on one machine, so that one may die or be exchanged while the other answers; a user
of their own without rights, and a sandbox by systemd; the key is a file that root alone reads and systemd hands on;
`install.sh` may be run again at any time, also after it was interrupted, and changes only what differs; what servers or
proxy have not followed yet is marked on the disk. What runs as root is short enough to be read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pydantic import Field

from luban.deploy.base import BUNDLE, Deployment, File, Target, is_address
from luban.deploy.container import requirements, wheel_steps
from luban.deploy.proxies.front import FILES, behind_proxy, proxy_file, stop_s
from luban.deploy.proxies.target import CHECKS, ProxySettings, front_of, grpc_notes
from luban.deploy.templates import header, render
from luban.errors import ConfigError

KIND = "vm"
GRPC_PORT = "LUBAN__SERVE__GRPC__PORT"
UNITS = ("luban@.service", "luban.target", "luban-backup.service", "luban-backup.timer")
SCRIPTS = ("install.sh", "roll.sh")
PLACES = {"nginx": "/etc/nginx/conf.d/luban.conf", "haproxy": "/etc/haproxy/haproxy.cfg"}


class Vm(Target):
    """A virtual machine: systemd units, TLS proxy, key, backups, an install script that may be run again."""

    names_host = True

    class Config(ProxySettings):
        """What the machine runs beside the servers."""

        first_port: int = Field(8001, ge=1024, le=65_000)
        """Loopback port of the first server; the others follow."""
        backup_at: str = Field("03:17", pattern=r"^([01]\d|2[0-3]):[0-5]\d$")
        """Time of day of the backup, where there is state to back up (`model_from: project`)."""
        backup_to: str = Field("/var/backups/luban", pattern=r"^/[A-Za-z0-9_./-]+$")
        """Folder for backups on that machine; have it copied to another."""
        backup_keep: int = Field(14, ge=1, le=1000)
        """Backups that are kept."""
        log_mb: int = Field(1024, ge=16)
        """Most megabytes that the journal may take."""

    def carries_bundle(self, plan: Deployment) -> bool:
        """Unless servers follow the ledger."""
        return plan.config.model_from == "bundle"

    def files(self, plan: Deployment) -> Sequence[File]:
        """Units, scripts, the proxy's configuration, settings, and what is installed."""
        proxy, values = plan.config.proxy, self._values(plan)
        servers = tuple(f"127.0.0.1:{port}" for port in self._ports(plan))
        front = replace(front_of(plan, self.config, servers, self._grpc_servers(plan)), user="haproxy")
        settings = {name: value for name, value in behind_proxy(plan).items() if name != GRPC_PORT}
        lines = "".join(f"{name}={_env(value)}\n" for name, value in sorted(settings.items()))
        texts = {f"systemd/{name}": name for name in UNITS if _is_needed(name, plan)}
        texts |= {
            "systemd/sysusers.conf": "sysusers.conf",
            "systemd/journald.conf": "journald.conf",
            "README.md": "README.md",
        }
        return [
            proxy_file(proxy, KIND, plan, front),
            File(
                "luban.env", f"{header(KIND, plan)}\n# Settings of the servers; the key is in /etc/luban/key.\n{lines}"
            ),
            *(File(path, render(f"vm/{name}", KIND, plan, values)) for path, name in texts.items()),
            *(File(name, render(f"vm/{name}", KIND, plan, values), executable=True) for name in SCRIPTS),
            *requirements(KIND, plan),
        ]

    def notes(self, plan: Deployment) -> Sequence[str]:
        """See Target."""
        return (*super().notes(plan), *grpc_notes(plan, self.config))

    def next_steps(self, plan: Deployment) -> Sequence[str]:
        """See Target."""
        state = (
            "The models: luban backup BACKUPS here, copy the newest of them there, and bring it back as README.md says."
        )
        there = "MACHINE" if plan.is_local else plan.config.host
        return (
            *wheel_steps(plan),
            # In place of the folder before, not over it: what an older bundle had must not stay in a newer one.
            f"tar -cz . | ssh root@{there} 'rm -rf luban && mkdir luban && tar -xz --no-same-owner -C luban && "
            "luban/install.sh'",
            *([state] if plan.config.model_from == "project" else []),
            f"Put a certificate for {plan.config.host} to {self.config.certificate} (README.md says how).",
        )

    def _ports(self, plan: Deployment) -> list[int]:
        return [self.config.first_port + number for number in range(max(2, plan.config.replicas))]

    def _grpc_servers(self, plan: Deployment) -> tuple[str, ...]:
        """Servers of one machine have ports of their own for gRPC, too: the number with a 1 before it."""
        if plan.serve.grpc.port is None:
            return ()
        ports = self._ports(plan)
        if ports[-1] > 9999:
            raise ConfigError(f"`first_port` must be below 9,990 with gRPC, but is {ports[0]}.", "Leave it out.")
        return tuple(f"127.0.0.1:1{port}" for port in ports)

    def _values(self, plan: Deployment) -> dict[str, object]:
        proxy = plan.config.proxy
        other = {"nginx": "haproxy", "haproxy": "nginx"}[proxy]
        return {
            "other": other, "other_at": PLACES[other], "host_kind": "IP" if is_address(plan.config.host) else "DNS",
            "config": self.config, "ports": self._ports(plan), "stop_s": stop_s(plan), "bundle": BUNDLE,
            "follows": plan.config.model_from == "project", "proxy_file": FILES[proxy], "proxy_at": PLACES[proxy],
            "proxy_check": CHECKS[proxy].replace(FILES[proxy], PLACES[proxy]),
            "units": [name for name in UNITS if _is_needed(name, plan)],
        }  # fmt: skip


def _is_needed(unit: str, plan: Deployment) -> bool:
    return "backup" not in unit or plan.config.model_from == "project"


def _env(value: str) -> str:
    """A value of systemd's EnvironmentFile: in quotes, where backslash and quote are escaped."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$").replace("`", "\\`")
    return f'"{escaped}"'
