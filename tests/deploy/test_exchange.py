"""The virtual machine's scripts and proxy, with real servers: another model, and no lost request."""

from __future__ import annotations

import json
import os
import re
import signal
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from luban.deploy.vm import PLACES, Vm
from luban.deploy.write import write
from luban.serve.config import ServeConfig
from ports import free_port, neighbours
from serve.tiny import write_tiny

from .plans import plan
from .running import ASK, COMMANDS, LUBAN, Clients, listens, process, program, wait_for

STUBS = {
    "systemctl": """
start() {
  LUBAN__SERVE__PORT="$1" "$LUBAN" serve --bundle "$ROOT/opt/luban/bundle" >>"$WORK/log" 2>&1 &
  echo $! >"$WORK/pids/$1"
}
ended() { [ ! -e "/proc/$1" ] || grep -q '^State:.Z' "/proc/$1/status"; }
port="${@: -1}"; port="${port#luban@}"; port="${port%.service}"
case "$*" in
  restart*) pid="$(cat "$WORK/pids/$port")"; kill -TERM "$pid"; until ended "$pid"; do sleep 0.05; done; start "$port";;
  "start luban.target"*) for port in $PORTS; do [ -e "$WORK/pids/$port" ] || start "$port"; done;;
  is-active*) [ -e "$WORK/pids/$port" ];;
esac
""",
    "python3": '[ "$1" = -c ] && exit 0; mkdir -p "$3/bin"; ln -s "$(type -P true)" "$3/bin/pip"; '
    'ln -s "$LUBAN" "$3/bin/luban"',
    "runuser": 'shift 3; exec "$@"',
    "apt-get": "", "systemd-sysusers": "", "nginx": "", "haproxy": "", "id": '[ "$1" = -u ] && echo 0',
    "install": 'args=(); while [ $# -gt 0 ]; do case "$1" in -o|-g) shift;; *) args+=("$1");; esac; shift; done; '
    'exec /usr/bin/install "${args[@]}"',
}  # fmt: skip


@contextmanager
def machine(work: Path, ports: list[int], drain_s: str) -> Iterator[dict[str, str]]:
    """The environment of install.sh; servers that it started are ended with the block, by their numbers."""
    for name in ("stubs", "pids", "root"):
        (work / name).mkdir()
    for name, body in STUBS.items():
        (work / "stubs" / name).write_text(f"#!/bin/bash\n{body}\n", "utf-8")
        (work / "stubs" / name).chmod(0o755)
    try:
        yield {
            **os.environ, "PATH": f"{work / 'stubs'}:{os.environ['PATH']}", "ROOT": str(work / "root"),
            "WORK": str(work), "PORTS": " ".join(map(str, ports)), "LUBAN": str(LUBAN),
            "LUBAN__SERVE__DRAIN_S": drain_s,
        }  # fmt: skip
    finally:
        for path in (work / "pids").iterdir():
            with suppress(ProcessLookupError):
                os.kill(int(path.read_text()), signal.SIGKILL)


@pytest.mark.long
@pytest.mark.parametrize("proxy", ["nginx", "haproxy"])
def test_another_model_without_a_lost_request(proxy: str, tmp_path: Path) -> None:
    for name in (proxy, "openssl", "curl"):
        program(name)
    ports = neighbours()
    port = free_port()
    target = Vm(Vm.Config(first_port=ports[0], port=port, plain_port=0, rate_per_s=0))
    with machine(tmp_path, ports, "1") as environment:

        def install(number: int) -> str:
            bundle = tmp_path / f"bundle-{number}"
            identity = write_tiny(bundle, bias=float(number)).identity
            deployment = replace(plan(ServeConfig(drain_s=1), proxy=proxy, host="localhost"), identity=identity)
            write(tmp_path / "vm", target.files(deployment), bundle)
            done = subprocess.run(
                [tmp_path / "vm" / "install.sh"], env=environment, capture_output=True, text=True, timeout=120
            )
            assert done.returncode == 0, done.stdout + done.stderr
            return identity

        first = install(1)
        wait_for(lambda: all(map(listens, ports)), "the servers", tmp_path / "log")
        context = ssl.create_default_context(cafile=str(tmp_path / "root/etc/luban/tls/cert.pem"))
        context.check_hostname = False  # the certificate is one of its own, made by the script
        with process(COMMANDS[proxy](_moved(tmp_path, proxy), tmp_path), tmp_path / "proxy.log"):
            wait_for(lambda: listens(port), proxy, tmp_path / "proxy.log")
            with Clients(port, context).asking() as clients:
                clients.more(100)
                assert _identity(port, context) == first
                second = install(2)
                clients.more(100)
                assert {_identity(port, context) for _ in range(10)} == {second}
            assert clients.failures == []
    assert first != second


def _moved(folder: Path, proxy: str) -> Path:
    """The installed configuration, its paths below the test's root."""
    text = (folder / "root" / PLACES[proxy].lstrip("/")).read_text("utf-8")
    text = text.replace("/etc/luban/tls", str(folder / "root/etc/luban/tls"))
    text = re.sub(r"^    (user|group) haproxy\n", "", text, flags=re.MULTILINE)
    config = folder / f"moved.{proxy}"
    config.write_text(text.replace("/var/log/nginx/luban.log", str(folder / "access.log")), "utf-8")
    return config


def _identity(port: int, context: ssl.SSLContext) -> str:
    answer = httpx.post(
        f"https://127.0.0.1:{port}/v1/predict", json=json.loads(ASK), verify=context, headers={"host": "localhost"}
    )
    time.sleep(0.01)
    return str(answer.json()["identity"])
