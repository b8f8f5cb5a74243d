"""Compose, run: by Podman on a machine of its own, from the printed steps to a server that dies under load.

Images of NGINX, Prometheus and Alertmanager are made from this machine's programs, for no registry is asked. Grafana,
which Debian does not have, is not started.
"""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from luban import __version__
from luban.deploy.compose import Compose
from luban.deploy.pins import pins
from luban.deploy.write import write
from serve.tiny import write_tiny
from waiting import until

from .machine import PLACE, Machine, machine
from .plans import plan
from .running import program
from .test_container import base_root

pytestmark = pytest.mark.long
HOST = "models.example.org"
WAIT_S = 120.0
SERVICES = ("luban-1", "luban-2", "proxy", "prometheus", "alertmanager")
ENGINE = f"""
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
[network]
network_config_dir = "{PLACE}/networks"
"""
STORAGE = f"""
[storage]
driver = "overlay"
graphroot = "{PLACE}/storage"
runroot = "/run/storage"
"""
NGINX = "".join(
    f"{name}_temp_path /var/cache/nginx/{name}; " for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
)


@dataclass
class Composed:
    """The machine that runs the deployment."""

    on: Machine
    identity: str

    def podman(self, *words: str) -> str:
        return self.on.said("env", *ENVIRONMENT, "podman", *words)

    def compose(self, *words: str) -> None:
        command = ["python3", "-m", "podman_compose", *words]
        self.on.run("env", f"--chdir={PLACE}/compose", *ENVIRONMENT, *command, timeout=560)

    def key(self) -> str:
        return self.on.said("cat", "compose/secrets/api_key")

    def curl(self, path: str, *more: str, key: bool = True) -> tuple[int, str]:
        header = ["-H", f"Authorization: Bearer {self.key()}"] if key else []
        words = ["curl", "--silent", "--cacert", "compose/secrets/cert.pem", "--resolve", f"{HOST}:443:127.0.0.1"]
        done = self.on.run(*words, "-w", "\n%{http_code}", *header, *more, f"https://{HOST}{path}", check=False)
        body, _, status = done.stdout.rpartition("\n")
        return int(status or 0), body

    def address(self, service: str) -> str:
        told = json.loads(self.podman("inspect", f"reviews_{service}_1"))[0]["NetworkSettings"]["Networks"]
        return str(told["reviews_servers"]["IPAddress"])

    def is_ready(self, service: str) -> bool:
        words = ["curl", "--silent", "--fail", "--max-time", "2", f"http://{self.address(service)}:8000/ready"]
        return self.on.run(*words, check=False).returncode == 0

    def until(self, what: Callable[[], bool], why: str) -> None:
        """Wait until it is so; where that is in vain: what the services said last."""
        until(what, why, WAIT_S, every_s=0.3, log=self.said)

    def said(self) -> str:
        """The end of each service's log."""
        logs = (
            (one, self.on.run("env", *ENVIRONMENT, "podman", "logs", "--tail", "20", f"reviews_{one}_1", check=False))
            for one in SERVICES
        )
        return "\n".join(f"{one}:\n{done.stdout}{done.stderr}" for one, done in logs)

    def asked(self, service: str, port: int, path: str) -> Any:
        """What a service says inside its network."""
        done = self.on.run("curl", "--silent", f"http://{self.address(service)}:{port}{path}", check=False)
        return json.loads(done.stdout or "null")


ENVIRONMENT = (
    f"CONTAINERS_CONF={PLACE}/engine.conf",
    f"CONTAINERS_STORAGE_CONF={PLACE}/storage.conf",
    f"PYTHONPATH={PLACE}/tools",
    "BUILDAH_ISOLATION=chroot",
)


def root_of(folder: Path, binary: str, owned: str = "") -> Path:
    """A root with one program and its libraries; the folder `owned` belongs to nobody."""
    for name in ("tmp", "etc", "run", "var/log/nginx", "var/cache/nginx", "var/lib/nginx", owned.strip("/")):
        (folder / name).mkdir(parents=True, exist_ok=True)
    needed = subprocess.run(["ldd", binary], capture_output=True, text=True).stdout
    for path in {binary, *re.findall(r"(/\S+\.so\S*) \(", needed)}:
        target = folder / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(Path(path).resolve(), target)
    (folder / "etc/passwd").write_text("root:x:0:0:::\nnobody:x:65534:65534:::\n")
    (folder / "etc/group").write_text("root:x:0:\nnogroup:x:65534:\n")
    if owned:
        shutil.chown(folder / owned.strip("/"), 65534, 65534)
    return folder


def images(folder: Path) -> dict[str, tuple[Path, list[str]]]:
    """Roots of all images that are pulled elsewhere, and how each is run, by name."""
    nobody = ["-c", "USER 65534:65534"]
    nginx = root_of(folder / "nginx", program("nginx"))
    (nginx / "etc/nginx/conf.d").mkdir(parents=True)
    (nginx / "var/log/nginx/access.log").symlink_to("/dev/stdout")  # as in the image that is pulled
    (nginx / "etc/nginx/nginx.conf").write_text(
        "user nobody nogroup; pid /run/nginx.pid; error_log stderr; daemon off;\nevents {}\n"
        f"http {{ {NGINX} include /etc/nginx/conf.d/*.conf; }}\n"
    )
    prometheus = root_of(folder / "prometheus", program("prometheus"), "/prometheus")
    told = root_of(folder / "alertmanager", program("prometheus-alertmanager"), "/alertmanager")
    templates = Path("usr/share/prometheus/alertmanager")
    shutil.copytree("/" / templates, told / templates)
    base_root(folder / "base")
    return {
        "base": (folder / "base", []),
        "nginx": (nginx, ["-c", f'CMD ["{program("nginx")}"]']),
        "prometheus": (prometheus, ["-c", f'ENTRYPOINT ["{program("prometheus")}"]', *nobody]),
        "alertmanager": (told, ["-c", f'ENTRYPOINT ["{program("prometheus-alertmanager")}"]', *nobody]),
    }


def tools(folder: Path) -> None:
    """podman-compose, and what it imports, for the machine's own Python."""
    folder.mkdir()
    for name in ("podman_compose", "yaml", "dotenv"):
        found = importlib.util.find_spec(name)
        if found is None or found.origin is None:
            pytest.skip(f"`{name}` is not installed")
        path = Path(found.origin)
        if path.name == "__init__.py":
            shutil.copytree(path.parent, folder / name)
        else:
            shutil.copy(path, folder)


@pytest.fixture(scope="module")
def composed(tmp_path_factory: pytest.TempPathFactory, wheelhouse: Path) -> Iterator[Composed]:
    """All services but Grafana, brought up by the printed steps."""
    for name in ("podman", "runc", "curl", "openssl"):
        program(name)
    shared, place = tmp_path_factory.mktemp("shared"), tmp_path_factory.mktemp("machine")
    names = {f"{one}_image": f"localhost/{one}:1" for one in ("grafana", "prometheus", "alertmanager", "proxy")}
    settings = Compose.Config.model_validate({
        **names, "proxy_image": "localhost/nginx:1", "base": "localhost/base:1", "rate_per_s": 0, "max_connections": 0,
    })  # fmt: skip
    identity = write_tiny(shared / "bundle").identity
    own = f"luban-{__version__}-py3-none-any.whl"
    found = replace(plan(host=HOST), identity=identity, luban=__version__, pins=pins(), wheel=own)
    target = Compose(settings)
    write(shared / "compose", target.files(found), shared / "bundle")
    shutil.copytree(wheelhouse, shared / "compose/wheels", dirs_exist_ok=True)
    (shared / "engine.conf").write_text(ENGINE)
    (shared / "storage.conf").write_text(STORAGE)
    tools(shared / "tools")
    roots = images(shared / "images")
    try:
        with machine(place, shared) as on:
            composed = Composed(on, identity)
            for name, (_, how) in roots.items():
                import_ = " ".join(f"'{word}'" for word in how)
                given = " ".join(ENVIRONMENT)
                on.run(
                    "bash", "-c", f"tar -C images/{name} -c . | {given} podman import {import_} - localhost/{name}:1"
                )
            follow(on, target.next_steps(found))
            composed.compose("build", "luban-1")  # the image is that of both servers
            composed.compose("up", "-d", *SERVICES)
            composed.until(lambda: composed.curl("/ready")[0] == 200, "an answer")
            yield composed
    finally:
        shutil.rmtree(shared, ignore_errors=True)


def follow(on: Machine, steps: Any) -> None:
    """Do what `luban deploy compose` prints, as far as it is about secrets, with a certificate of our own."""
    on.run(
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
        "-subj", f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST}", "-keyout", "key.pem", "-out", "cert.pem",
    )  # fmt: skip
    about = [step for step in steps if "secrets" in step]
    assert len(about) == 4
    for step in about:
        words = step.replace("CERTIFICATE", f"{PLACE}/cert.pem").replace("PRIVATE-KEY", f"{PLACE}/key.pem")
        on.run("bash", "-c", f"cd compose && {words}")


def test_it_answers_over_tls_to_who_has_the_key(composed: Composed) -> None:
    status, body = composed.curl("/v1/model")
    assert (status, json.loads(body)["identity"]) == (200, composed.identity)
    assert composed.curl("/v1/model", key=False)[0] == 401
    assert composed.curl("/metrics")[0] == 404


def test_servers_can_write_nothing_and_reach_nobody(composed: Composed) -> None:
    told = json.loads(composed.podman("inspect", "reviews_luban-1_1"))[0]
    assert told["Config"]["User"] == "10001:10001"
    assert told["HostConfig"]["ReadonlyRootfs"] is True
    assert told["EffectiveCaps"] in (None, [])
    assert list(told["NetworkSettings"]["Networks"]) == ["reviews_servers"]
    status = composed.podman(
        "exec", "reviews_luban-1_1", "/opt/luban/bin/python", "-c", "print(open('/proc/1/status').read())"
    )
    assert re.search(r"^NoNewPrivs:\t1$", status, re.MULTILINE)
    code = "open('/srv-can-be-written', 'w')"
    words = ["env", *ENVIRONMENT, "podman", "exec", "reviews_luban-1_1", "/opt/luban/bin/python", "-c", code]
    assert "Read-only file system" in composed.on.run(*words, check=False).stderr
    routes = composed.podman(
        "exec", "reviews_luban-1_1", "/opt/luban/bin/python", "-c", "print(open('/proc/net/route').read())"
    )
    assert not [line for line in routes.splitlines()[1:] if line.split()[1] == "00000000"], "there is no way out"
    routes = composed.podman(
        "exec", "reviews_luban-1_1", "/opt/luban/bin/python", "-c", "print(open('/proc/1/environ').read())"
    )
    assert composed.key() not in routes, "the key is in a file, not in the environment"


def test_prometheus_reads_every_server_and_knows_whom_to_tell(composed: Composed) -> None:
    def up() -> bool:
        found = composed.asked("prometheus", 9090, "/api/v1/query?query=up")
        return found is not None and [one["value"][1] for one in found["data"]["result"]] == ["1", "1"]

    composed.until(up, "both servers' figures")

    def told() -> list[str]:
        found = composed.asked("prometheus", 9090, "/api/v1/alertmanagers")["data"]["activeAlertmanagers"]
        return [one["url"] for one in found]

    composed.until(lambda: bool(told()), "an Alertmanager that Prometheus knows")
    assert told() == ["http://alertmanager:9093/api/v2/alerts"]
    composed.until(lambda: composed.asked("alertmanager", 9093, "/api/v2/status") is not None, "Alertmanager")


def test_no_request_fails_while_a_server_dies_and_another_is_exchanged(composed: Composed) -> None:
    composed.until(lambda: composed.is_ready("luban-1") and composed.is_ready("luban-2"), "both servers")
    certificate = composed.on.said("cat", "compose/secrets/cert.pem")
    with composed.on.asked(certificate, composed.key()):
        composed.podman("kill", "--signal", "KILL", "reviews_luban-1_1")
        composed.podman("start", "reviews_luban-1_1")
        composed.until(lambda: composed.is_ready("luban-1"), "the server that was killed")
        composed.podman("restart", "--time", "30", "reviews_luban-2_1")
        composed.until(lambda: composed.is_ready("luban-2"), "the server that was exchanged")
