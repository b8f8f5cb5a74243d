"""The virtual machine: units that systemd accepts, an install script that may be run again, no lost key."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from luban.deploy.base import Deployment
from luban.deploy.vm import Vm
from luban.deploy.write import write
from luban.serve.config import ServeConfig
from serve.tiny import write_tiny

from .plans import plan
from .running import program

MODES = ("bundle", "project")
STUBS = {
    "systemctl": 'echo "systemctl $*" >>"$CALLS"; wants="$ROOT/etc/systemd/system/luban.target.wants"; case "$*" in '
    'is-active*) [ -e "$CALLS.active" ];; "start luban.target"*) touch "$CALLS.active";; '
    '"enable --quiet luban.target"*) mkdir -p "$wants"; for one in $*; do case "$one" in luban@*) '
    'touch "$wants/$one";; esac; done;; "disable --quiet --now luban@"*) rm "$wants/$4";; esac',
    "runuser": 'shift 3; exec "$@"',
    "apt-get": 'echo "apt-get $*" >>"$CALLS"',
    "systemd-sysusers": 'echo "systemd-sysusers" >>"$CALLS"',
    "nginx": 'echo "nginx $*" >>"$CALLS"',
    "haproxy": 'echo "haproxy $*" >>"$CALLS"',
    "curl": 'echo "curl $*" >>"$CALLS"',
    "id": '[ "$1" = -u ] && echo 0',
    "python3": '[ "$1" = -c ] && exit 0; echo "python3 $1 $2" >>"$CALLS"; mkdir -p "$3/bin"; for one in pip luban; do '
    'printf "#!/bin/sh\\necho $one \\$1 \\$2 >>\\"\\$CALLS\\"\\n" >"$3/bin/$one"; chmod +x "$3/bin/$one"; done',
    # There is no user luban here.
    "install": 'args=(); while [ $# -gt 0 ]; do case "$1" in -o|-g) shift;; *) args+=("$1");; esac; shift; done; '
    'exec /usr/bin/install "${args[@]}"',
}  # fmt: skip


def written(folder: Path, deployment: Deployment, **settings: object) -> Path:
    target = Vm(Vm.Config.model_validate(settings))
    bundle = None
    if target.carries_bundle(deployment):
        bundle = folder.parent / f"bundle-{deployment.identity[:4]}"
        if not bundle.exists():
            write_tiny(bundle)
    write(folder, target.files(deployment), bundle, force=True)
    return folder


@pytest.fixture
def machine(tmp_path: Path) -> dict[str, str]:
    """The environment of an install script: an empty root, and programs that only note that they were called."""
    stubs = tmp_path / "stubs"
    stubs.mkdir()
    for name, body in STUBS.items():
        (stubs / name).write_text(f"#!/bin/bash\n{body}\n", "utf-8")
        (stubs / name).chmod(0o755)
    (tmp_path / "root").mkdir()
    return {
        **os.environ, "PATH": f"{stubs}:{os.environ['PATH']}", "ROOT": str(tmp_path / "root"),
        "CALLS": str(tmp_path / "calls"),
    }  # fmt: skip


def install(folder: Path, machine: dict[str, str]) -> tuple[str, list[str]]:
    """What the script said, and what it called."""
    calls = Path(machine["CALLS"])
    calls.write_text("", "utf-8")
    done = subprocess.run([folder / "install.sh"], env=machine, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout, calls.read_text("utf-8").splitlines()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("proxy", ["nginx", "haproxy"])
def test_installed_twice_changes_nothing(mode: str, proxy: str, tmp_path: Path, machine: dict[str, str]) -> None:
    program("openssl")
    folder, root = written(tmp_path / "vm", plan(model_from=mode, proxy=proxy)), Path(machine["ROOT"])
    said, calls = install(folder, machine)
    assert "made a key" in said
    assert "pip install --quiet" in calls
    assert ("luban bundle verify" in calls) == (mode == "bundle")
    assert not any("restart luban" in call for call in calls), "servers that never ran are started, not exchanged"
    assert calls.index("systemctl daemon-reload") < calls.index(
        "systemctl start luban.target" + (" luban-backup.timer" if mode == "project" else "")
    )
    assert any(call.startswith(proxy) for call in calls), "the proxy's own check is run before it is reloaded"
    key = root / "etc/luban/key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert len(key.read_text().strip()) == 64
    assert (root / "etc/luban/tls/cert.pem.key").stat().st_mode & 0o777 == 0o600
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    said, calls = install(folder, machine)
    assert said.splitlines()[-1] == "install: done"
    assert "wrote" not in said
    assert ("no model yet" in said) == (mode == "project"), "nothing was brought back from a backup"
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before
    assert not any(call.startswith(("pip", "apt-get")) for call in calls)
    assert not any("restart luban" in call for call in calls)


def test_another_bundle_exchanges_servers_one_by_one(tmp_path: Path, machine: dict[str, str]) -> None:
    program("openssl")
    root = Path(machine["ROOT"])
    first = plan()
    install(written(tmp_path / "vm", first), machine)
    second = replace(first, identity="cd" * 32)
    said, calls = install(written(tmp_path / "vm", second), machine)
    assert "/opt/luban/bundle is now bundles/cdcdcdcdcdcdcdcd" in said
    assert (root / "opt/luban/bundle/manifest.json").is_file()
    assert (root / "opt/luban/bundles/abababababababab/manifest.json").is_file()
    exchanged = [call for call in calls if "restart luban" in call or call.startswith("curl")]
    assert [call.split()[-1] for call in exchanged[2:6]] == [
        "luban@8001.service", "http://127.0.0.1:8001/ready", "luban@8002.service", "http://127.0.0.1:8002/ready",
    ]  # fmt: skip


def test_a_server_that_does_not_come_back_stops_the_exchange(tmp_path: Path, machine: dict[str, str]) -> None:
    folder = written(tmp_path / "vm", plan())
    stubs = Path(machine["PATH"].partition(":")[0])
    (stubs / "curl").write_text('#!/bin/sh\n! grep -q restart "$CALLS"\n')
    Path(machine["CALLS"]).write_text("")
    (stubs / "sleep").write_text("#!/bin/sh\nexit 0\n")
    (stubs / "sleep").chmod(0o755)
    done = subprocess.run([folder / "roll.sh"], env=machine, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "luban@8001 is not ready" in done.stderr
    assert Path(machine["CALLS"]).read_text().splitlines() == ["systemctl restart luban@8001.service"]
    done = subprocess.run([folder / "roll.sh"], env=machine, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, "where nobody answers, there is nobody to lose"
    assert Path(machine["CALLS"]).read_text().endswith("restart luban@8001.service luban@8002.service\n")


def test_a_proxy_that_has_not_changed_is_left_alone(tmp_path: Path, machine: dict[str, str]) -> None:
    """Its reload would close connections on which a client may be about to ask."""
    program("openssl")
    folder = written(tmp_path / "vm", plan())
    assert any("reload-or-restart nginx" in call for call in install(folder, machine)[1])
    assert not any("reload" in call and "daemon" not in call for call in install(folder, machine)[1])
    assert any("reload" in call for call in install(written(tmp_path / "vm", plan(replicas=3)), machine)[1])


def test_a_key_and_a_certificate_that_are_there_stay(tmp_path: Path, machine: dict[str, str]) -> None:
    folder, root = written(tmp_path / "vm", plan()), Path(machine["ROOT"])
    (root / "etc/luban/tls").mkdir(parents=True)
    for name in ("key", "tls/cert.pem", "tls/cert.pem.key"):
        (root / "etc/luban" / name).write_text(f"mine: {name}\n")
    install(folder, machine)
    for name in ("key", "tls/cert.pem", "tls/cert.pem.key"):
        assert (root / "etc/luban" / name).read_text() == f"mine: {name}\n"
    assert (root / "etc/luban/key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("mode", MODES)
def test_systemd_accepts_the_units(mode: str, tmp_path: Path) -> None:
    analyze = program("systemd-analyze")
    deployment = plan(ServeConfig(alias='a b$c"d\\e'), model_from=mode, memory_mb=300, cpus=0.5)
    folder = written(tmp_path / "vm", deployment)
    units = tmp_path / "units"
    units.mkdir()
    for path in (folder / "systemd").glob("luban*"):
        text = path.read_text("utf-8")
        (units / path.name).write_text(text.replace("/opt/luban/venv/bin/luban", shutil.which("true") or ""), "utf-8")
    names = [path.name.replace("@.", "@8001.") for path in units.iterdir()]
    assert len(names) == (2 if mode == "bundle" else 4)
    done = subprocess.run([analyze, "verify", *names], cwd=units, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    (units / "luban@.service").write_text((units / "luban@.service").read_text().replace("Type=exec", "Type=exce"))
    done = subprocess.run([analyze, "verify", *names], cwd=units, capture_output=True, text=True, timeout=60)
    assert "exce" in done.stdout + done.stderr, "the check itself can fail"


@pytest.mark.parametrize("unit", ["luban@.service", "luban-backup.service"])
def test_the_sandbox_is_tight(unit: str, tmp_path: Path) -> None:
    analyze = program("systemd-analyze")
    folder = written(tmp_path / "vm", plan(model_from="project"))
    command = [analyze, "security", "--offline=yes", "--threshold=20", "--no-pager", folder / "systemd" / unit]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if "unrecognized option" in done.stderr:
        pytest.skip("this systemd cannot judge a unit offline")
    assert done.returncode == 0, done.stdout[-300:] + done.stderr


def test_scripts_are_bash(tmp_path: Path) -> None:
    for mode in MODES:
        folder = written(tmp_path / mode, plan(model_from=mode))
        for name in ("install.sh", "roll.sh"):
            assert os.access(folder / name, os.X_OK)
            assert (folder / name).read_text().startswith("#!/usr/bin/env bash\n# Written by")
            subprocess.run(["bash", "-n", folder / name], check=True)


def test_settings_stay_whole_in_the_environment_file(tmp_path: Path) -> None:
    text = (written(tmp_path / "vm", plan(ServeConfig(alias='a b$c"d\\e'))) / "luban.env").read_text("utf-8")
    (line,) = [line for line in text.splitlines() if "ALIAS" in line]
    # bash reads quotes, backslashes and dollars in double quotes as systemd does
    shown = subprocess.run(["bash", "-c", f'{line}; printf %s "$LUBAN__SERVE__ALIAS"'], capture_output=True, text=True)
    assert shown.stdout == '"a b$c\\"d\\\\e"'  # YAML's form of the value


def test_what_servers_need_is_in_the_units(tmp_path: Path) -> None:
    folder = written(tmp_path / "vm", plan(ServeConfig(drain_s=7, stop_timeout_s=3), replicas=3, memory_mb=300))
    service = (folder / "systemd/luban@.service").read_text("utf-8")
    assert "TimeoutStopSec=15\n" in service
    assert "MemoryMax=300M\n" in service
    assert re.findall(r"127\.0\.0\.1:(\d+) max_fails", (folder / "nginx.conf").read_text()) == ["8001", "8002", "8003"]
    one = written(tmp_path / "one", plan(replicas=1))
    assert (one / "systemd/luban.target").read_text().count("Wants=") == 2, "one server alone cannot be exchanged"


def test_wrong_settings() -> None:
    for wrong in ({"backup_at": "24:00"}, {"backup_to": "relative"}, {"first_port": 80}):
        with pytest.raises(ValidationError):
            Vm.Config.model_validate(wrong)
