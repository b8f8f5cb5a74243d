"""The target `monitoring`: configurations of Prometheus, Alertmanager and Grafana, rules, a dashboard.

Decided here: the promises stand in `serve.slo`, so one place says what is promised, what is measured and when
somebody is woken; the key with which figures are read is named by a file, never written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import yaml
from pydantic import Field, field_validator

from luban.catalog import Config as Settings
from luban.deploy.base import Deployment, File, Target
from luban.deploy.templates import header
from luban.deploy.watch import alertmanager
from luban.deploy.watch.alertmanager import AlertsConfig
from luban.deploy.watch.dashboard import dashboard
from luban.deploy.watch.rules import Rules

KIND = "monitoring"
RULES = ("rules/recording.yml", "rules/alerts.yml")
DASHBOARD = "grafana/dashboards/luban.json"
SOURCES = "grafana/provisioning/datasources/prometheus.yml"
DASHBOARDS = "grafana/provisioning/dashboards/luban.yml"
WHERE_DASHBOARDS = "/var/lib/grafana/dashboards"
_ADDRESS = r"^[A-Za-z0-9._\[\]:-]+:[0-9]{1,5}$"


class Monitoring(Target):
    """Prometheus: configuration, recording and alerting rules. Grafana: the dashboard and its data source."""

    names_bundle = False
    exempt = {
        "hands_settings_on": "it watches servers, and starts none; the promises of `serve.slo` stand in its rules"
    }

    class Config(Settings):
        """What is scraped, and from where it is shown."""

        servers: tuple[str, ...] = ("127.0.0.1:8000",)
        """Servers whose figures are read, each `host:port`."""
        https: bool = False
        """Read them over HTTPS."""
        interval_s: int = Field(15, ge=1, le=300)
        """Seconds between two looks; rules are evaluated as often."""
        key_file: str = ""
        """File on Prometheus' machine with a key of role viewer; "" where the server has `open_metrics` or no key."""
        prometheus: str = "http://127.0.0.1:9090"
        """Address under which Grafana reaches Prometheus."""
        alertmanagers: tuple[str, ...] = ("127.0.0.1:9093",)
        """Alertmanagers that are told, each `host:port`; empty: none, and no alertmanager.yml is written."""
        alerts: AlertsConfig = Field(default_factory=AlertsConfig)
        """Who is told of alerts."""
        secrets_at: str = Field("/etc/luban/alerts", pattern=r"^/[A-Za-z0-9_./-]+$")
        """Folder on Alertmanager's machine with the files that hold passwords and secret addresses."""

        @field_validator("servers", "alertmanagers")
        @classmethod
        def _are_addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
            for one in value:
                if re.fullmatch(_ADDRESS, one) is None:
                    raise ValueError(f"must be `host:port` each, but got {one!r}")
            return value

    def files(self, plan: Deployment) -> Sequence[File]:
        """Two configurations, two files of rules, one dashboard, two of provisioning."""
        rules = Rules(plan, job_of(plan))
        top = header(KIND, plan)
        texts = {
            "prometheus.yml": _yaml(top, self._prometheus(plan)),
            RULES[0]: _yaml(top, rules.recorded()),
            RULES[1]: _yaml(top, rules.alerts()),
            SOURCES: _yaml(top, self._sources()),
            DASHBOARDS: _yaml(top, _providers()),
            DASHBOARD: json.dumps(dashboard(plan, job_of(plan)), indent=1, ensure_ascii=False) + "\n",
        }
        if self.config.alertmanagers:
            told = alertmanager.alertmanager(self.config.alerts, self.config.secrets_at)
            texts[alertmanager.FILE] = _yaml(top, told)
        return [File(path, text) for path, text in texts.items()]

    def notes(self, plan: Deployment) -> Sequence[str]:
        """See Target."""
        silent = self.config.alertmanagers and not self.config.alerts.tells_somebody
        return (*super().notes(plan), *((alertmanager.NOBODY,) if silent else ()))

    def next_steps(self, plan: Deployment) -> Sequence[str]:
        """See Target."""
        file = self.config.key_file
        key = (
            [f"(umask 077 && luban keys create --name prometheus --role viewer --expires never >{file})"]
            if file
            else []
        )
        names = ", ".join(self.config.alerts.secrets)
        secrets = [f"Put {names} into {self.config.secrets_at}, for Alertmanager's user alone."] if names else []
        told = ["amtool check-config alertmanager.yml", "alertmanager --config.file alertmanager.yml"]
        return [
            *key,
            *secrets,
            *(told if self.config.alertmanagers else ()),
            "promtool check config prometheus.yml",
            "prometheus --config.file prometheus.yml --storage.tsdb.retention.time 40d",
            f"Grafana: import {DASHBOARD}, or provision it: grafana/provisioning, dashboards in {WHERE_DASHBOARDS}.",
        ]

    def _prometheus(self, plan: Deployment) -> dict[str, Any]:
        every = f"{self.config.interval_s}s"
        scrape: dict[str, Any] = {
            "job_name": job_of(plan),
            "metrics_path": "/metrics",
            "scheme": "https" if self.config.https else "http",
            "static_configs": [{"targets": list(self.config.servers)}],
        }
        if self.config.key_file:
            scrape["authorization"] = {"credentials_file": self.config.key_file}
        found: dict[str, Any] = {
            "global": {"scrape_interval": every, "evaluation_interval": every},
            "rule_files": list(RULES),
            "scrape_configs": [scrape],
        }
        if self.config.alertmanagers:
            found["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": list(self.config.alertmanagers)}]}]}
        return found

    def _sources(self) -> dict[str, Any]:
        source = {
            "name": "Prometheus",
            "uid": "luban-prometheus",
            "type": "prometheus",
            "access": "proxy",
            "url": self.config.prometheus,
            "isDefault": True,
            "jsonData": {"timeInterval": f"{self.config.interval_s}s", "httpMethod": "POST"},
        }
        return {"apiVersion": 1, "datasources": [source]}


def job_of(plan: Deployment) -> str:
    """The job's name in Prometheus: no two models share their alerts."""
    return f"luban-{plan.name}"


def _providers() -> dict[str, Any]:
    provider = {"name": "luban", "type": "file", "options": {"path": WHERE_DASHBOARDS}}
    return {"apiVersion": 1, "providers": [provider]}


class _Dumper(yaml.SafeDumper):
    """Lists below their key are set in."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _yaml(top: str, data: dict[str, Any]) -> str:
    return f"{top}\n" + yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1000)
