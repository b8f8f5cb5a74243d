"""The install script of a machine on its second run: interrupted before, refused by the disk, with other settings."""

from __future__ import annotations

import os
import resource
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from luban.deploy.base import Deployment
from luban.serve.config import ServeConfig

from .plans import plan
from .running import program
from .test_vm import install, machine, written

__all__ = ["machine"]
NGINX, HAPROXY = "etc/nginx/conf.d/luban.conf", "etc/haproxy/haproxy.cfg"


@pytest.fixture(autouse=True)
def _openssl() -> None:
    program("openssl")


def stub(machine: dict[str, str], name: str, body: str) -> str:
    """Put another program in the place of a stub; what was there."""
    path = Path(machine["PATH"].partition(":")[0]) / name
    before = path.read_text("utf-8")
    path.write_text(f"#!/bin/bash\n{body}\n{before.partition(chr(10))[2]}", "utf-8")
    path.chmod(0o755)
    return before


def unstub(machine: dict[str, str], name: str, before: str) -> None:
    (Path(machine["PATH"].partition(":")[0]) / name).write_text(before, "utf-8")


def fails(folder: Path, machine: dict[str, str], max_bytes: int | None = None) -> str:
    """What the script complained of; no file may be larger than `max_bytes`."""

    def limit() -> None:
        if max_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (max_bytes, max_bytes))

    Path(machine["CALLS"]).write_text("", "utf-8")
    done = subprocess.run(
        [folder / "install.sh"], env=machine, capture_output=True, text=True, timeout=60, preexec_fn=limit
    )
    assert done.returncode != 0, done.stdout
    return done.stderr


def exchanged(calls: list[str]) -> list[str]:
    return [call.split()[-1] for call in calls if "restart luban@" in call]


BOTH = ["luban@8001.service", "luban@8002.service"]
OTHER = replace(plan(ServeConfig(max_rows=77)), identity="ab" * 32)


def test_what_was_interrupted_before_the_exchange_is_exchanged_by_the_next_run(
    tmp_path: Path, machine: dict[str, str]
) -> None:
    install(written(tmp_path / "vm", plan()), machine)
    before = stub(machine, "systemctl", '[ "$1" = daemon-reload ] && kill -KILL $PPID')
    fails(written(tmp_path / "vm", OTHER), machine)
    unstub(machine, "systemctl", before)
    assert "77" in (Path(machine["ROOT"]) / "etc/luban/luban.env").read_text(), "it was killed after it wrote"
    assert exchanged(install(tmp_path / "vm", machine)[1]) == BOTH
    assert exchanged(install(tmp_path / "vm", machine)[1]) == []


def test_a_disk_that_refuses_leaves_files_whole(tmp_path: Path, machine: dict[str, str]) -> None:
    install(written(tmp_path / "vm", plan()), machine)
    at = Path(machine["ROOT"]) / "etc/luban/luban.env"
    before = at.read_bytes()
    fails(written(tmp_path / "vm", OTHER), machine, max_bytes=100)
    assert at.read_bytes() == before
    assert exchanged(install(tmp_path / "vm", machine)[1]) == BOTH
    assert at.read_bytes() != before


def test_servers_that_are_no_longer_named_end_after_the_proxy_forgot_them(
    tmp_path: Path, machine: dict[str, str]
) -> None:
    install(written(tmp_path / "vm", plan(replicas=3)), machine)
    said, calls = install(written(tmp_path / "vm", plan(replicas=2)), machine)
    assert "luban@8003 is stopped" in said
    assert calls.index("systemctl reload-or-restart nginx") < calls.index(
        "systemctl disable --quiet --now luban@8003.service"
    )
    assert not any("disable" in call for call in install(tmp_path / "vm", machine)[1])
    calls = install(written(tmp_path / "vm", plan(), first_port=9001), machine)[1]
    ready = calls.index("curl --silent --fail --max-time 2 --output /dev/null http://127.0.0.1:9002/ready")
    assert ready < calls.index("systemctl reload-or-restart nginx"), "the proxy asks new servers once they are ready"
    assert [call.split()[-1] for call in calls if "disable" in call] == BOTH


@pytest.mark.parametrize(("old", "new", "gone"), [("nginx", "haproxy", NGINX), ("haproxy", "nginx", HAPROXY)])
def test_another_proxy_takes_the_place_of_the_first(
    old: str, new: str, gone: str, tmp_path: Path, machine: dict[str, str]
) -> None:
    install(written(tmp_path / "vm", plan(proxy=old)), machine)
    calls = install(written(tmp_path / "vm", plan(proxy=new)), machine)[1]
    assert calls.index(f"systemctl disable --quiet --now {old}") < calls.index(f"systemctl reload-or-restart {new}")
    assert not (Path(machine["ROOT"]) / gone).exists()


def test_a_configuration_of_somebody_else_is_kept(tmp_path: Path, machine: dict[str, str]) -> None:
    at = Path(machine["ROOT"]) / HAPROXY
    at.parent.mkdir(parents=True)
    at.write_text("# mine\n")
    said, _ = install(written(tmp_path / "vm", plan(proxy="haproxy")), machine)
    assert "kept as /etc/haproxy/haproxy.cfg.before" in said
    install(written(tmp_path / "vm", plan(proxy="haproxy", replicas=3)), machine)
    assert at.with_name("haproxy.cfg.before").read_text() == "# mine\n"
    assert "127.0.0.1:8003" in at.read_text()


def test_a_configuration_that_the_proxy_refuses_is_taken_back_and_tried_again(
    tmp_path: Path, machine: dict[str, str]
) -> None:
    install(written(tmp_path / "vm", plan()), machine)
    at = Path(machine["ROOT"]) / NGINX
    before = at.read_bytes()
    nginx = stub(machine, "nginx", "exit 1")
    assert "nginx refuses" in fails(written(tmp_path / "vm", plan(replicas=3)), machine)
    assert at.read_bytes() == before
    unstub(machine, "nginx", nginx)
    assert "systemctl reload-or-restart nginx" in install(tmp_path / "vm", machine)[1]
    assert at.read_bytes() != before


def test_a_reload_that_was_interrupted_is_done_by_the_next_run(tmp_path: Path, machine: dict[str, str]) -> None:
    install(written(tmp_path / "vm", plan()), machine)
    before = stub(machine, "systemctl", '[ "$1" = reload-or-restart ] && exit 1')
    fails(written(tmp_path / "vm", plan(replicas=3)), machine)
    unstub(machine, "systemctl", before)
    assert "systemctl reload-or-restart nginx" in install(tmp_path / "vm", machine)[1]


def test_it_is_not_done_before_servers_are_ready(tmp_path: Path, machine: dict[str, str]) -> None:
    folder = written(tmp_path / "vm", plan())
    before = stub(machine, "curl", "exit 7")
    (Path(machine["PATH"].partition(":")[0]) / "sleep").write_text("#!/bin/sh\nexit 0\n")
    (Path(machine["PATH"].partition(":")[0]) / "sleep").chmod(0o755)
    assert "luban@8001 is not ready" in fails(folder, machine)
    unstub(machine, "curl", before)
    assert install(folder, machine)[0].endswith("install: done\n")


def project(text: str) -> Deployment:
    return replace(plan(model_from="project"), project=text)


def test_a_project_file_is_followed_unless_it_was_changed_there(tmp_path: Path, machine: dict[str, str]) -> None:
    at = Path(machine["ROOT"]) / "var/lib/luban/project/luban.yaml"
    install(written(tmp_path / "vm", project("name: reviews\nserve: {max_rows: 5}\n")), machine)
    said, calls = install(written(tmp_path / "vm", project("name: reviews\n")), machine)
    assert "max_rows" not in at.read_text(), "a setting that was taken out must not hold there for ever"
    assert exchanged(calls) == BOTH
    at.write_text("name: reviews\nowner: somebody there\n")
    said, _ = install(written(tmp_path / "vm", project("name: reviews\nserve: {max_rows: 6}\n")), machine)
    assert "was changed by hand" in said
    assert "somebody there" in at.read_text()
    assert "max_rows: 6" in at.with_name("luban.yaml.new").read_text()


def test_versions_before_the_last_are_removed(tmp_path: Path, machine: dict[str, str]) -> None:
    venvs = Path(machine["ROOT"]) / "opt/luban/venvs"
    seen: list[set[str]] = []
    for number in range(3):
        install(written(tmp_path / "vm", replace(plan(), pins={"numpy": f"2.4.{number}"})), machine)
        seen.append({path.name for path in venvs.iterdir()})
        for path in venvs.iterdir():  # the clock of this test is coarser than its steps
            os.utime(path, (number, number) if path.name in seen[0] else None)
    assert [len(one) for one in seen] == [1, 2, 2]
    assert not seen[0] & seen[2]


def test_the_commands_put_nothing_over_an_older_bundle(tmp_path: Path) -> None:
    """What an older bundle had and the newer has not would fail its audit."""
    from luban.deploy.vm import Vm

    (command,) = [step for step in Vm().next_steps(plan()) if "ssh" in step]
    there = tmp_path / "there"
    (there / "luban/bundle").mkdir(parents=True)
    (there / "luban/bundle/old.onnx").touch()
    here = tmp_path / "here"
    here.mkdir()
    (here / "install.sh").write_text("#!/bin/sh\ntouch installed\n")
    (here / "install.sh").chmod(0o755)
    ssh = tmp_path / "ssh"
    ssh.write_text(f'#!/bin/sh\ncd {there}\nexec sh -c "$2"\n')
    ssh.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    subprocess.run(["bash", "-c", command], cwd=here, env=environment, check=True, timeout=60)
    assert sorted(path.name for path in there.rglob("*")) == ["install.sh", "installed", "luban"]
