"""The virtual machine, run: systemd as process 1, the install script, TLS, exchange and death under load, a backup."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from luban import __version__
from luban.bundle.bundle import Bundle
from luban.deploy.base import Deployment
from luban.deploy.pins import pins
from luban.deploy.vm import Vm
from luban.deploy.watch.target import Monitoring
from luban.deploy.write import write
from luban.serve.config import ServeConfig
from serve.deploying import House
from serve.tiny import write_tiny
from waiting import until

from .machine import Machine, machine
from .plans import plan
from .running import program

pytestmark = pytest.mark.long
HOST = "models.example.org"


@dataclass
class Installed:
    """A machine, and the folder that it shares with this one."""

    on: Machine
    shared: Path
    wheels: Path

    def install(self, name: str, deployment: Deployment, bundle: Path | None = None) -> str:
        """Write a deployment, and install it there as its README says; what the script said."""
        known = replace(
            deployment, luban=__version__, pins=pins(deployment.extras), wheel=f"luban-{__version__}-py3-none-any.whl"
        )
        target = Vm(Vm.Config(rate_per_s=0, max_connections=0))
        write(self.shared / name, target.files(known), bundle)
        shutil.copytree(self.wheels, self.shared / name / "wheels", dirs_exist_ok=True)
        return self.again(name)

    def again(self, name: str) -> str:
        return self.on.run("env", f"--chdir=/srv/deploy/{name}", "./install.sh", timeout=400).stdout

    def key(self) -> str:
        return self.on.said("head", "-1", "/etc/luban/key")

    def curl(self, path: str, *more: str, key: bool = True) -> tuple[int, str]:
        """Status and body of a request over TLS, which trusts the certificate that was made and no other."""
        header = ["-H", f"Authorization: Bearer {self.key()}"] if key else []
        words = ["curl", "--silent", "--cacert", "/etc/luban/tls/cert.pem", "--resolve", f"{HOST}:443:127.0.0.1", "-w"]
        said = self.on.said(*words, "\n%{http_code}", *header, *more, f"https://{HOST}{path}")
        body, _, status = said.rpartition("\n")
        return int(status), body

    def main_pid(self, unit: str) -> int:
        return int(self.on.said("systemctl", "show", "-p", "MainPID", "--value", unit))

    def unit_is(self, unit: str, state: str = "active") -> bool:
        return self.on.run("systemctl", "is-active", unit, check=False).stdout.strip() == state

    def until(self, what: Callable[[], bool], why: str) -> None:
        """Wait until it is so; where that is in vain: the end of the journal."""
        until(what, why, every_s=0.1, log=lambda: self.on.said("journalctl", "--no-pager", "-n", "60"))

    def load(self) -> AbstractContextManager[None]:
        """Clients that ask without a pause, and see no failure."""
        return self.on.asked(self.on.said("cat", "/etc/luban/tls/cert.pem"), self.key())


def bundle_of(identity: str) -> Deployment:
    """With the extras of the other way, so that Luban is installed once for both."""
    return replace(plan(host=HOST, memory_mb=300, extras=("postgres",)), identity=identity)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory, wheelhouse: Path) -> Iterator[Installed]:
    """A machine on which install.sh was run once, with a bundle."""
    for name in ("nginx", "curl", "openssl"):
        program(name)
    version = subprocess.run(["/usr/bin/python3", "--version"], capture_output=True, text=True, check=False).stdout
    if not version.startswith(f"Python {sys.version_info.major}.{sys.version_info.minor}."):
        pytest.skip(f"the wheels that are here are not for the machine's own {version.strip() or 'Python'}")
    shared, place = tmp_path_factory.mktemp("shared"), tmp_path_factory.mktemp("machine")
    shared.chmod(0o755)
    with machine(place, shared) as on:
        found = Installed(on, shared, wheelhouse)
        bundle = shared / "bundle-1"
        identity = write_tiny(bundle).identity
        said = found.install("vm", bundle_of(identity), bundle)
        assert said.endswith("install: done\n"), said
        yield found


def ready(installed: Installed, port: int) -> bool:
    words = ["curl", "--silent", "--fail", "--max-time", "2", "--output", "/dev/null", f"http://127.0.0.1:{port}/ready"]
    return installed.on.run(*words, check=False).returncode == 0


def test_it_answers_over_tls_to_who_has_the_key(installed: Installed) -> None:
    installed.until(lambda: ready(installed, 8001) and ready(installed, 8002), "both servers")
    rows = [{"text": "很好", "stars": 5.0}]
    words = ("-H", "Content-Type: application/json", "--data-binary", json.dumps({"rows": rows}))
    status, body = installed.curl("/v1/predict", *words)
    ours = Bundle.load(installed.shared / "bundle-1")
    assert status == 200, body
    assert json.loads(body)["identity"] == ours.identity
    assert json.loads(body)["answers"][0]["label"] == ours.predict(rows).rows()[0]["label"]
    assert installed.curl("/v1/predict", *words, key=False)[0] == 401
    assert installed.curl("/metrics")[0] == 404


@pytest.mark.parametrize("port", [8001, 8002])
def test_servers_have_the_rights_that_the_units_leave_them(installed: Installed, port: int) -> None:
    unit = f"luban@{port}.service"
    pid = installed.main_pid(unit)
    status = installed.on.said("cat", f"/proc/{pid}/status")
    user = installed.on.said("id", "-u", "luban")
    assert re.search(rf"^Uid:(\t{user}){{4}}$", status, re.MULTILINE)
    assert re.search(r"^CapEff:\t0+$", status, re.MULTILINE)
    assert re.search(r"^NoNewPrivs:\t1$", status, re.MULTILINE)
    assert re.search(r"^Seccomp:\t2$", status, re.MULTILINE)
    assert installed.on.said("systemctl", "show", "-p", "MemoryMax", "--value", unit) == str(300 * 2**20)
    mounts = installed.on.said("cat", f"/proc/{pid}/mounts")
    assert re.search(r"^\S+ / \S+ ro[, ]", mounts, re.MULTILINE), "its root cannot be written"
    environment = installed.on.said("cat", f"/proc/{pid}/environ")
    assert installed.key() not in environment, "the key is in a file, not in the environment"


def test_no_request_fails_while_servers_are_exchanged_and_one_is_killed(installed: Installed) -> None:
    installed.until(lambda: ready(installed, 8001) and ready(installed, 8002), "both servers")
    before = {port: installed.main_pid(f"luban@{port}.service") for port in (8001, 8002)}
    with installed.load():
        installed.on.run("systemctl", "restart", "luban@8001.service")
        installed.until(lambda: ready(installed, 8001), "the server that was started again")
        installed.on.run("kill", "-9", str(before[8002]))
        installed.until(lambda: installed.main_pid("luban@8002.service") not in (0, before[8002]), "Restart=")
        installed.until(lambda: ready(installed, 8002), "the server that was killed")
        installed.on.run("/opt/luban/roll.sh")
    after = {port: installed.main_pid(f"luban@{port}.service") for port in (8001, 8002)}
    assert not set(before.values()) & set(after.values())
    restarts = installed.on.said("systemctl", "show", "-p", "NRestarts", "--value", "luban@8002.service")
    assert restarts in ("0", "1")  # roll.sh begins the count anew


def test_another_bundle_comes_without_a_lost_request_and_a_third_run_changes_nothing(installed: Installed) -> None:
    bundle = installed.shared / "bundle-2"
    identity = write_tiny(bundle, bias=1.0).identity
    proxy = installed.main_pid("nginx.service")
    with installed.load():
        said = installed.install("vm", bundle_of(identity), bundle)
    assert f"/opt/luban/bundle is now bundles/{identity[:16]}" in said
    status, body = installed.curl("/v1/model")
    assert (status, json.loads(body)["identity"]) == (200, identity)
    assert installed.main_pid("nginx.service") == proxy
    pids = [installed.main_pid(f"luban@{port}.service") for port in (8001, 8002)]
    assert installed.again("vm") == "install: done\n"
    assert [installed.main_pid(f"luban@{port}.service") for port in (8001, 8002)] == pids


def test_the_log_is_in_the_journal(installed: Installed) -> None:
    said = installed.on.said("journalctl", "--no-pager", "-o", "cat", "-u", "luban@8001")
    lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert {"model loaded", "listening"} <= {line["message"] for line in lines}


def test_servers_that_follow_a_ledger_with_a_backup_that_comes_back(installed: Installed, tmp_path: Path) -> None:
    """The same machine changes over to a project: the state is restored, then backed up by the timer's unit."""
    house = House(tmp_path)
    house.release()
    luban = [sys.executable, "-m", "luban"]
    subprocess.run([*luban, "backup", installed.shared / "backup", "--project", tmp_path], check=True)
    installed.on.run("chmod", "-R", "a+rX", "/srv/deploy/backup")
    deployment = plan(ServeConfig(poll_s=0.2), host=HOST, model_from="project", memory_mb=300)
    installed.on.run("systemctl", "stop", "luban.target")  # none of the two ways can answer for the other
    said = installed.install("project", replace(deployment, identity="", project=(tmp_path / "luban.yaml").read_text()))
    assert said.endswith("install: done\n"), said
    # As README.md says it.
    on = installed.on
    on.run("systemctl", "stop", "luban.target", "luban-backup.timer")
    project = "/var/lib/luban/project"
    on.run("mv", f"{project}/.luban", f"{project}/.luban-before", check=False)
    (backup,) = (installed.shared / "backup").iterdir()
    restore = ["/opt/luban/venv/bin/luban", "restore", f"/srv/deploy/backup/{backup.name}", "--project", project]
    on.run("runuser", "-u", "luban", "--", *restore)
    on.run("systemctl", "start", "luban.target", "luban-backup.timer")
    installed.until(lambda: ready(installed, 8001) and ready(installed, 8002), "both servers")
    assert json.loads(installed.curl("/v1/model")[1])["version"] == 1
    assert "luban-backup.timer" in on.said("systemctl", "list-timers", "--no-pager")
    on.run("systemctl", "start", "luban-backup.service")
    assert on.said("systemctl", "show", "-p", "Result", "--value", "luban-backup.service") == "success"
    (made,) = on.said("ls", "/var/backups/luban").split()
    assert on.said("stat", "-c", "%U %a", f"/var/backups/luban/{made}") == "luban 700"


def commands_of(installed: Installed, heading: str) -> list[str]:
    """The commands below a heading of the written README."""
    section = (
        (installed.shared / "vm/README.md").read_text("utf-8").partition(f"## {heading}\n")[2].partition("\n## ")[0]
    )
    return [line.strip() for line in section.splitlines() if line.startswith("    ")]


def test_figures_and_alerts_as_the_readme_says(installed: Installed) -> None:
    program("prometheus"), program("prometheus-alertmanager")
    settings = Monitoring.Config(servers=("127.0.0.1:8001", "127.0.0.1:8002"), key_file="/etc/prometheus/luban.key")
    write(installed.shared / "watch", Monitoring(settings).files(plan(host=HOST)))
    first, *commands = commands_of(installed, "Figures and alerts")
    assert first.startswith("apt-get install"), "which has been done: this machine's programs are there"
    for command in commands:
        installed.on.run("bash", "-c", f"cd watch && {command}")

    def said(path: str) -> Any:
        done = installed.on.run("curl", "--silent", "--fail", f"http://127.0.0.1:{path}", check=False)
        return json.loads(done.stdout or "null")

    def both_are_up() -> bool:
        found = said("9090/api/v1/query?query=up")
        return found is not None and [one["value"][1] for one in found["data"]["result"]] == ["1", "1"]

    installed.until(both_are_up, "both servers' figures")

    def told() -> list[str]:
        found = said("9090/api/v1/alertmanagers")
        return [] if found is None else [one["url"] for one in found["data"]["activeAlertmanagers"]]

    installed.until(lambda: bool(told()), "an Alertmanager that Prometheus knows")
    assert told() == ["http://127.0.0.1:9093/api/v2/alerts"]
    installed.until(lambda: said("9093/api/v2/status") is not None, "Alertmanager")
    assert said("9093/api/v2/status")["config"]["original"].count("receiver: owner") == 1


def test_taken_away_as_the_readme_says(installed: Installed) -> None:
    installed.on.run("systemctl", "disable", "--now", "luban-backup.timer", check=False)  # of the other way's README
    commands = commands_of(installed, "Taken away")
    assert len(commands) == 4
    for command in commands:
        installed.on.run("bash", "-c", command)
    assert installed.on.run("ls", "/opt/luban", check=False).returncode != 0
    units = installed.on.said("systemctl", "list-units", "--no-legend", "--no-pager", "--all", "luban*")
    assert not re.search(r"\bactive\b", units), units
