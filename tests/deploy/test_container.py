"""The image: its Dockerfile read strictly; and, as a long test, built and run: not as root, on a read-only root."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from luban import __version__
from luban.bundle.bundle import Bundle
from luban.deploy.base import Deployment
from luban.deploy.container import Container
from luban.deploy.pins import pins
from luban.deploy.write import write
from luban.serve.config import ServeConfig
from ports import free_ports
from serve.tiny import write_tiny

from .plans import plan
from .running import program

KNOWN = (
    "ARG", "FROM", "ENV", "COPY", "RUN", "LABEL", "USER", "WORKDIR", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK",
    "ENTRYPOINT", "CMD",
)  # fmt: skip


def instructions(text: str) -> list[tuple[str, str]]:
    """What a Dockerfile says, in order: comments gone, lines joined."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines) + "\n")
    found = [line.partition(" ") for line in joined.splitlines() if line.strip()]
    return [(name, rest.strip()) for name, _, rest in found]


def dockerfile(deployment: Deployment, **settings: Any) -> list[tuple[str, str]]:
    (text,) = (f.text for f in Container(Container.Config(**settings)).files(deployment) if f.path == "Dockerfile")
    return instructions(text)


CASES = [plan(), plan(model_from="project"), plan(ServeConfig(alias='a "b" $c'), extras=("postgres",))]


@pytest.mark.parametrize("deployment", CASES, ids=["bundle", "project", "settings"])
def test_every_instruction_is_known_and_in_exec_form(deployment: Deployment) -> None:
    found = dockerfile(deployment)
    assert {name for name, _ in found} <= set(KNOWN)
    for name, rest in found:
        if name in ("RUN", "ENTRYPOINT", "CMD"):
            command = json.loads(rest)
            assert all(isinstance(word, str) for word in command), rest
        if name == "HEALTHCHECK":
            json.loads(rest.partition("CMD ")[2])
    names = [name for name, _ in found]
    assert names.count("FROM") == 2, "tools of the installation stay in a stage of their own"
    last = found[len(names) - 1 - names[::-1].index("FROM") :]
    assert [rest for name, rest in last if name == "USER"] == ["10001:10001"]
    assert not [rest for name, rest in last if name == "RUN" and "/state" not in rest]
    assert [name for name, _ in last][-2:] == ["ENTRYPOINT", "CMD"]
    assert ("STOPSIGNAL", "SIGTERM") in last


@pytest.mark.parametrize("deployment", CASES, ids=["bundle", "project", "settings"])
def test_what_is_copied_is_there_and_let_in(deployment: Deployment) -> None:
    files = {file.path: file.text for file in Container().files(deployment)}
    there = {path.split("/")[0] for path in files} | ({"bundle"} if Container().carries_bundle(deployment) else set())
    let_in = {line[1:] for line in files[".dockerignore"].splitlines() if line.startswith("!")}
    assert "*" in files[".dockerignore"].splitlines()
    for name, rest in dockerfile(deployment):
        if name == "COPY" and not rest.startswith("--from"):
            *sources, _ = rest.split()
            assert {source.strip("/") for source in sources} <= there & let_in


def test_settings_reach_the_image_whole() -> None:
    text = " ".join(rest for name, rest in dockerfile(CASES[2]) if name == "ENV")
    assert r'LUBAN__SERVE__ALIAS="\"a \\\"b\\\" \$c\""' in text
    assert "LUBAN__SERVE__HOST=0.0.0.0" in text


def test_a_mounted_bundle_is_not_carried() -> None:
    target = Container(Container.Config(bundle="mounted"))
    assert not target.carries_bundle(plan())
    assert not any("bundle" in rest for name, rest in dockerfile(plan(), bundle="mounted") if name == "COPY")
    assert any("-v ./bundle:/bundle:ro" in step for step in target.next_steps(plan()))


def test_pins_are_those_of_this_machine() -> None:
    import importlib.metadata

    found = pins()
    for name in ("numpy", "onnxruntime", "pydantic", "pydantic-core", "uvicorn"):
        assert found[name] == importlib.metadata.version(name)
    assert not {"torch", "scikit-learn", "luban", "pytest"} & set(found)
    assert "psycopg-binary" in pins(("postgres",))


@dataclass
class Image:
    """A built image, mounted; and what it was made of."""

    root: Path
    config: dict[str, Any]
    bundle: Path

    def command(self, words: list[str], port: int) -> list[str | Path]:
        """Run in the image as it says: its user, its environment, a root that cannot be written, /tmp in memory."""
        script = (
            'set -e; mount --bind "$1" "$1"; mount -o remount,bind,ro "$1"; mount -t tmpfs tmpfs "$1/tmp"; '
            'mount -t proc proc "$1/proc"; mount -t tmpfs tmpfs "$1/dev"; '
            'for one in null zero urandom; do : >"$1/dev/$one"; mount --bind "/dev/$one" "$1/dev/$one"; done; '
            'root="$1"; user="$2"; shift 2; exec chroot --userspec="$user" "$root" "$@"'
        )
        environment = [*self.config["Env"], f"LUBAN__SERVE__PORT={port}", "LUBAN__SERVE__HOST=127.0.0.1"]
        return [
            "unshare", "--mount", "--propagation", "private", "bash", "-c", script, "bash", self.root,
            self.config["User"], "/opt/luban/bin/python", "-c",
            "import os, sys; os.environ.clear(); "
            "os.environ.update(one.split('=', 1) for one in sys.argv[1].split('\\n')); "
            "os.chdir('/tmp'); os.execvp(sys.argv[2], sys.argv[2:])",
            "\n".join(environment), *words,
        ]  # fmt: skip


def base_root(root: Path) -> None:
    """A root with this machine's Python and the libraries that it and wheels need, as a base image has them."""
    prefix = Path(sys.base_prefix)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for name in ("tmp", "proc", "dev", "etc", "usr/local/bin", "usr/bin", "lib64", "var/tmp"):
        (root / name).mkdir(parents=True)
    (root / "tmp").chmod(0o1777)
    (root / "usr/local/lib").mkdir(parents=True)
    leave = shutil.ignore_patterns(
        "site-packages", "test", "tests", "__pycache__", "*.a", "config-*", "idlelib", "tkinter"
    )
    shutil.copytree(prefix / "lib" / version, root / "usr/local/lib" / version, ignore=leave)
    (root / "usr/local/lib" / version / "site-packages").mkdir()
    shutil.copy(Path(sys.base_prefix) / "bin" / version, root / "usr/local/bin/python3")
    needed = [prefix / "bin" / version, *(prefix / "lib" / version / "lib-dynload").glob("*.so")]
    said = subprocess.run(["ldd", *needed], capture_output=True, text=True).stdout
    libraries = {Path(path) for path in re.findall(r"(/\S+\.so\S*) \(", said)}
    for found in ("libstdc++.so.6", "libgcc_s.so.1", "libdl.so.2", "librt.so.1", "libpthread.so.0"):
        listed = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True).stdout
        libraries |= {Path(path) for path in re.findall(rf"{re.escape(found)} .*x86-64.* => (\S+)", listed)}
    for path in libraries:
        target = root / str(path).lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path.resolve(), target)
    # As wheels lie in the folder, no index is asked.
    (root / "etc/pip.conf").write_text("[global]\nno-index = true\n")


OWN = f"luban-{__version__}-py3-none-any.whl"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory, wheelhouse: Path) -> Iterator[Image]:
    buildah, folder = program("buildah"), tmp_path_factory.mktemp("image")
    if os.getuid() != 0 or subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode:
        pytest.skip("an image is built and run by its root, which takes the right to mount")
    deployment = plan(ServeConfig(max_rows=77))
    deployment = Deployment(**{**vars(deployment), "luban": __version__, "pins": pins(), "wheel": OWN})
    write_tiny(folder / "tiny")
    write(folder / "context", Container().files(deployment), folder / "tiny")
    shutil.copytree(wheelhouse, folder / "context" / "wheels", dirs_exist_ok=True)
    base_root(folder / "base")

    def run(*words: str | Path) -> str:
        places = ["--storage-driver", "vfs", "--root", folder / "storage", "--runroot", folder / "run"]
        done = subprocess.run([buildah, *places, *words], capture_output=True, text=True, timeout=560)
        assert done.returncode == 0, f"{words}: {done.stdout[-2000:]} {done.stderr[-2000:]}"
        return done.stdout.strip()

    start = run("from", "scratch")
    run("copy", start, folder / "base", "/")
    run("commit", "--rm", start, "luban-test-base")
    shutil.rmtree(folder / "base")
    built = ("bud", "--isolation", "chroot", "--format", "docker", "--build-arg", "BASE=localhost/luban-test-base")
    run(*built, "--pull-never", "-t", "luban-test", folder / "context")
    about = json.loads(run("inspect", "--type", "image", "luban-test"))["Docker"]["config"]
    container = run("from", "--pull-never", "luban-test")
    root = Path(run("mount", container))
    yield Image(root, about, folder / "tiny")
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.long
def test_the_image_says_how_it_is_run(image: Image) -> None:
    assert image.config["User"] == "10001:10001"
    assert image.config["Entrypoint"] == ["luban", "serve"]
    assert image.config["StopSignal"] == "SIGTERM"
    assert image.config["Healthcheck"]["Test"][0] == "CMD"
    assert not any("KEY" in one.upper() for one in image.config["Env"])
    site = next((image.root / "opt/luban/lib").glob("python*/site-packages"))
    assert not [path for path in site.iterdir() if path.name in ("torch", "pip", "sklearn", "transformers")]
    size = sum(path.stat().st_size for path in image.root.rglob("*") if path.is_file() and not path.is_symlink())
    assert size < 700_000_000, f"{size / 1e6:.0f} MB"


@pytest.mark.long
def test_it_answers_as_a_user_without_rights_on_a_root_that_cannot_be_written(image: Image, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    log = tmp_path / "log"
    words = [*image.config["Entrypoint"], *image.config["Cmd"]]
    with log.open("wb") as out, subprocess.Popen(image.command(words, port), stdout=out, stderr=out) as server:
        try:
            address = f"http://127.0.0.1:{port}"
            _until_ready(address, server, log)
            status = Path(f"/proc/{server.pid}/status").read_text()
            assert re.search(r"^Uid:\t10001\t10001\t10001\t10001$", status, re.MULTILINE)
            assert re.search(r"^CapEff:\t0+$", status, re.MULTILINE)
            rows = [{"text": "很好", "stars": 5.0}, {"text": "太差"}]
            answer = httpx.post(f"{address}/v1/predict", json={"rows": rows}).json()
            ours = Bundle.load(image.bundle)
            assert answer["identity"] == ours.identity
            for theirs, expected in zip(answer["answers"], ours.predict(rows).rows(), strict=True):
                assert theirs == {name: pytest.approx(value, abs=1e-6) for name, value in expected.items()}
            assert httpx.post(f"{address}/v1/predict", json={"rows": rows * 50}).status_code == 413
            check = [word.replace("8000", str(port)) for word in image.config["Healthcheck"]["Test"][1:]]
            assert subprocess.run(image.command(check, port)).returncode == 0
            server.send_signal(signal.SIGTERM)
            assert server.wait(30) == 0, log.read_text()
            assert subprocess.run(image.command(check, port), capture_output=True).returncode != 0
        finally:
            server.kill()


@pytest.mark.long
def test_nothing_can_be_written_but_tmp(image: Image) -> None:
    code = "open('/tmp/a', 'w'); open('/bundle/a', 'w')"
    done = subprocess.run(image.command(["python", "-c", code], 1), capture_output=True, text=True)
    assert "Read-only file system" in done.stderr
    assert "/bundle/a" in done.stderr


def _until_ready(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        assert server.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        try:
            if httpx.get(f"{address}/ready", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
