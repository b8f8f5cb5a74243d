"""Alertmanager's configuration: who is told of an alert, how soon, and how often.

Decided here: a `page` is told within seconds and again each hour, a `ticket` once a day; a promise that already pages
says nothing by ticket, and a server that is down nothing else about itself. Passwords, and addresses that are
secrets themselves, stand in files that are named here and written by nobody but you. Where nobody is named, alerts are
seen on Alertmanager's page alone. Knows no rule.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from luban.catalog import Config

FILE = "alertmanager.yml"
PASSWORD, SLACK, KEY = "smtp_password", "slack_url", "webhook_key"
_MAIL = r"^([^\s@<>,]+@[^\s@<>,]+)?$"
_URL = r"^(https?://[^\s/@]+(/\S*)?)?$"


class AlertsConfig(Config):
    """Who is told of alerts: by mail, a chat's webhook, or a program's."""

    email_to: str = Field("", pattern=_MAIL)
    """Address that alerts are mailed to."""
    email_from: str = Field("", pattern=_MAIL)
    """Address that they come from."""
    smtp: str = Field("", pattern=r"^([A-Za-z0-9.-]+:[0-9]{1,5})?$")
    """Mail server, `host:port`; it must speak TLS (587 as a rule)."""
    smtp_user: str = ""
    """User of the mail server, whose password stands in the file `smtp_password`; "" where it asks for none."""
    slack: bool = False
    """Tell a channel by an incoming webhook (Slack, Mattermost and the like), whose address stands in `slack_url`."""
    webhook: str = Field("", pattern=_URL)
    """Address of a program that takes Alertmanager's JSON. One that is a secret itself is none for this setting."""
    webhook_key: bool = False
    """Send the program what stands in the file `webhook_key`, as a bearer token."""

    @model_validator(mode="after")
    def _whole(self) -> AlertsConfig:
        if self.email_to and not (self.email_from and self.smtp):
            raise ValueError("`email_to` needs `email_from` and `smtp`")
        if self.webhook_key and not self.webhook:
            raise ValueError("`webhook_key` needs `webhook`")
        return self

    @property
    def secrets(self) -> tuple[str, ...]:
        """Names of the files that must be there."""
        asked = {PASSWORD: bool(self.email_to and self.smtp_user), SLACK: self.slack, KEY: self.webhook_key}
        return tuple(name for name, is_asked in asked.items() if is_asked)

    @property
    def tells_somebody(self) -> bool:
        """Whether an alert reaches anybody."""
        return bool(self.email_to or self.slack or self.webhook)


NOBODY = (
    "Nobody is told of alerts: they are seen on Alertmanager's page (port 9093) alone. Set `alerts` of this target: "
    "`email_to` with `email_from` and `smtp`, `slack`, or `webhook`."
)


def alertmanager(config: AlertsConfig, secrets_at: str) -> dict[str, Any]:
    """The configuration. `secrets_at` is the folder of `config.secrets` where Alertmanager runs."""
    page = {"matchers": ['severity="page"'], "group_wait": "10s", "repeat_interval": "1h"}
    return {
        "route": {
            "receiver": "owner",
            "group_by": ["alertname", "job"],
            "group_wait": "1m",
            "group_interval": "5m",
            "repeat_interval": "1d",
            "routes": [page],
        },
        "inhibit_rules": [
            {
                "source_matchers": ['severity="page"'],
                "target_matchers": ['severity="ticket"'],
                "equal": ["alertname", "job"],
            },
            {
                "source_matchers": ['alertname="LubanDown"'],
                "target_matchers": ['alertname!="LubanDown"'],
                "equal": ["job", "instance"],
            },
        ],
        "receivers": [{"name": "owner", **_receiver(config, secrets_at)}],
    }


def _receiver(config: AlertsConfig, secrets_at: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if config.email_to:
        mail = {"to": config.email_to, "from": config.email_from, "smarthost": config.smtp, "send_resolved": True}
        if config.smtp_user:
            mail |= {"auth_username": config.smtp_user, "auth_password_file": f"{secrets_at}/{PASSWORD}"}
        found["email_configs"] = [mail]
    if config.slack:
        text = "{{ range .Alerts }}{{ .Annotations.summary }}\n{{ .Annotations.description }}\n{{ end }}"
        found["slack_configs"] = [{"api_url_file": f"{secrets_at}/{SLACK}", "send_resolved": True, "text": text}]
    if config.webhook:
        hook: dict[str, Any] = {"url": config.webhook, "send_resolved": True}
        if config.webhook_key:
            hook["http_config"] = {"authorization": {"credentials_file": f"{secrets_at}/{KEY}"}}
        found["webhook_configs"] = [hook]
    return found
