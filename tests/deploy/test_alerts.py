"""Alertmanager: configurations that it accepts, and an alert that goes all the way to who is told."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from luban.deploy.compose import Compose
from luban.deploy.watch.alertmanager import FILE, AlertsConfig
from luban.deploy.watch.target import Monitoring
from ports import free_port
from waiting import until

from .running import process, program
from .test_watch import needs_prometheus, plan, prometheus, written

MAIL = {"email_to": "ops@example.org", "email_from": "luban@example.org", "smtp": "mail.example.org:587"}
ALL = {**MAIL, "smtp_user": "luban", "slack": True, "webhook": "http://127.0.0.1:9/alerts", "webhook_key": True}


@pytest.mark.parametrize("alerts", [{}, MAIL, {"slack": True}, {"webhook": "https://pager.example.org/in"}, ALL])
def test_alertmanager_accepts_its_configuration(alerts: dict[str, Any], tmp_path: Path) -> None:
    amtool = program("amtool")
    written(tmp_path, plan(), alerts=alerts)
    done = subprocess.run([amtool, "check-config", tmp_path / FILE], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    text = (tmp_path / FILE).read_text("utf-8")
    (tmp_path / FILE).write_text(text.replace("group_wait", "group_wiat"), "utf-8")
    done = subprocess.run([amtool, "check-config", tmp_path / FILE], capture_output=True, text=True, timeout=60)
    assert done.returncode != 0, "the check itself can fail"


def test_secrets_are_files_that_the_steps_name() -> None:
    target = Monitoring(Monitoring.Config(alerts=AlertsConfig.model_validate(ALL), secrets_at="/secrets"))
    (text,) = (file.text for file in target.files(plan()) if file.path == FILE)
    (receiver,) = yaml.safe_load(text)["receivers"]
    assert receiver["email_configs"][0]["auth_password_file"] == "/secrets/smtp_password"
    assert receiver["slack_configs"][0]["api_url_file"] == "/secrets/slack_url"
    assert receiver["webhook_configs"][0]["http_config"]["authorization"]["credentials_file"] == "/secrets/webhook_key"
    assert any("smtp_password, slack_url, webhook_key into /secrets" in step for step in target.next_steps(plan()))
    assert target.notes(plan()) == ()
    (note,) = Monitoring().notes(plan())
    assert "Nobody is told" in note
    assert not any(f.path == FILE for f in Monitoring(Monitoring.Config(alertmanagers=())).files(plan()))


def test_compose_gives_alertmanager_its_secrets() -> None:
    files = {file.path: file.text for file in Compose(Compose.Config.model_validate({"alerts": ALL})).files(plan())}
    found = yaml.safe_load(files["compose.yaml"])
    service = found["services"]["alertmanager"]
    assert service["secrets"] == ["smtp_password", "slack_url", "webhook_key"]
    assert set(service["secrets"]) <= set(found["secrets"])
    assert set(service["networks"]) == {"servers", "outside"}, "it is reached by Prometheus, and reaches who is told"
    (to,) = yaml.safe_load(files["prometheus.yml"])["alerting"]["alertmanagers"][0]["static_configs"]
    assert to["targets"] == ["alertmanager:9093"]
    (receiver,) = yaml.safe_load(files[FILE])["receivers"]
    assert receiver["slack_configs"][0]["api_url_file"] == "/run/secrets/slack_url"


@pytest.mark.parametrize(
    "wrong",
    [
        {"email_to": "ops@example.org"}, {"email_to": "ops"}, {"webhook_key": True}, {"webhook": "example.org"},
        {"webhook": "https://user:word@example.org/in"}, {"smtp": "mail.example.org"},
    ],
)  # fmt: skip
def test_wrong_settings(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        AlertsConfig.model_validate({**({} if "email_to" in wrong else MAIL), **wrong})


@dataclass
class Told:
    """A program that takes alerts, and a server that Prometheus reads: it refuses one bundle more at each look."""

    alerts: list[dict[str, Any]] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    looks: int = 0

    @contextmanager
    def listening(self) -> Iterator[str]:
        told = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                told.looks += 1
                self._answer(f'luban_model_refusals_total{{model="reviews"}} {told.looks}\n'.encode())

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                told.keys.add(self.headers.get("Authorization", ""))
                told.alerts += json.loads(body)["alerts"]
                self._answer(b"")

            def _answer(self, body: bytes) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Content-Type", "text/plain")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: object) -> None:
                """Nothing: standard error is the test's."""

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            try:
                yield f"127.0.0.1:{server.server_port}"
            finally:
                server.shutdown()
                thread.join()


@needs_prometheus
def test_an_alert_reaches_who_is_told(tmp_path: Path) -> None:
    program_at = shutil.which("prometheus-alertmanager") or program("alertmanager")
    told, port = Told(), free_port()
    (tmp_path / "webhook_key").write_text("a-key-of-this-test")
    with told.listening() as here:
        alerts = {"webhook": f"http://{here}/alerts", "webhook_key": True}
        settings = {"servers": (here,), "interval_s": 1, "alertmanagers": (f"127.0.0.1:{port}",)}
        written(tmp_path, plan(), **settings, alerts=alerts, secrets_at=str(tmp_path))
        text = (tmp_path / FILE).read_text("utf-8")
        (tmp_path / FILE).write_text(text.replace("group_wait: 1m", "group_wait: 1s"), "utf-8")
        command: list[str | Path] = [
            program_at, f"--config.file={tmp_path / FILE}", f"--storage.path={tmp_path / 'alerts'}",
            f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=",
        ]  # fmt: skip
        with process(command, tmp_path / "alertmanager.log"), prometheus(tmp_path):
            until(lambda: told.alerts, "an alert", every_s=0.1, log=tmp_path / "alertmanager.log")
    alert = next(one for one in told.alerts if one["labels"]["alertname"] == "LubanBundleRefused")
    assert alert["status"] == "firing"
    assert (alert["labels"]["severity"], alert["labels"]["owner"]) == ("ticket", "the {{ team }}")
    assert alert["annotations"]["summary"]
    assert told.keys == {"Bearer a-key-of-this-test"}
