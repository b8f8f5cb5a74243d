"""A machine for tests: systemd as process 1, in namespaces of its own, on a copy-on-write view of this machine's root.

Nothing that it writes stays, its network has no way out, and it ends with the block. It takes root, and the right to
make namespaces and mounts; where one is missing, the test is skipped and says so.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from .running import program

BOOT_S = 180.0
PLACE = "/srv/deploy"
"""Where the shared folder is inside."""
_CGROUPS = Path("/sys/fs/cgroup")
_BOOT = r"""
set -euo pipefail
place="$1"; shared="$2"; root="$place/root"
mkdir -p "$place/layer" "$root"
mount -t tmpfs tmpfs "$place/layer"
mkdir "$place/layer/upper" "$place/layer/work"
mount -t overlay overlay -o "lowerdir=/,upperdir=$place/layer/upper,workdir=$place/layer/work" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for one in null zero full random urandom tty; do
  : >"$root/dev/$one"
  mount --bind "/dev/$one" "$root/dev/$one"
done
mkdir "$root/dev/shm" "$root/dev/pts"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
  mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
else
  mount -t tmpfs tmpfs "$root/sys/fs/cgroup"
  mkdir "$root/sys/fs/cgroup/systemd"
  mount -t cgroup -o none,name=systemd cgroup "$root/sys/fs/cgroup/systemd"
  for one in memory pids cpu cpuacct blkio freezer devices; do
    mkdir "$root/sys/fs/cgroup/$one"
    mount -t cgroup -o "$one" cgroup "$root/sys/fs/cgroup/$one"
  done
fi
# What this machine starts is no part of the other, and neither are its proxy's other sites.
rm -rf "$root"/etc/systemd/system/* "$root"/etc/nginx/sites-enabled/* "$root"/etc/nginx/conf.d/*
echo 0123456789abcdef0123456789abcdef >"$root/etc/machine-id"
mkdir -p "$root/srv/deploy"
mount --bind "$shared" "$root/srv/deploy"
hostname luban-test
ip link set lo up
# No chroot: units with PrivateUsers= could not start in one.
cd "$root"
pivot_root . .
umount -l .
cd /
# Credentials are mounted by a child of systemd's in a namespace of its own, from where they must come back.
mount --make-rshared /
exec env -i container=luban PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --unit=multi-user.target
"""
_CLIENTS = """
import json, ssl, sys
from tests.deploy.running import Clients
tls = ssl.create_default_context(cadata=sys.argv[1])
tls.check_hostname = False  # the clients ask by address
with Clients(443, tls, num=4, key=sys.argv[2]).asking() as clients:
    clients.more(200)
    print("asking", flush=True)
    sys.stdin.read()
    if not clients.failures:
        clients.more(200)
print(json.dumps([clients.num_answers, clients.failures]))
"""


@dataclass(frozen=True)
class Machine:
    """One that runs; `pid` is that of its process 1, seen from here."""

    pid: int

    def run(self, *command: str | Path, check: bool = True, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run a command on it, as root."""
        inside = ["env", "-i", f"--chdir={PLACE}", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "PIP_NO_INDEX=1"]
        words = ["nsenter", "-t", str(self.pid), "-m", "-p", "-u", "-i", "-n", "-C", "-r", *inside]
        done = subprocess.run([*words, *command], capture_output=True, text=True, timeout=timeout, check=False)
        assert not check or done.returncode == 0, f"{command}: {done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done

    def said(self, *command: str | Path) -> str:
        """What a command says on its standard output."""
        return self.run(*command).stdout.strip()

    @contextlib.contextmanager
    def asked(self, certificate: str, key: str) -> Iterator[None]:
        """Four clients ask its port 443 without a pause; none of them may see a failure."""
        command = [sys.executable, "-c", _CLIENTS, certificate, key]
        with subprocess.Popen(
            ["nsenter", "-t", str(self.pid), "-n", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        ) as clients:
            assert clients.stdout is not None
            try:
                assert clients.stdout.readline() == "asking\n"
                yield
                said, _ = clients.communicate("", timeout=60)
            finally:
                clients.kill()
        num_answers, failures = json.loads(said)
        assert failures == [], failures[:5]
        assert num_answers >= 400


def _own_cgroups() -> list[Path]:
    """Folders for the machine's cgroups, each below that of this process."""
    found = []
    for line in Path("/proc/self/cgroup").read_text("ascii").splitlines():
        _, controllers, path = line.split(":", 2)
        name = controllers.removeprefix("name=") or ("unified" if (_CGROUPS / "unified").is_dir() else ".")
        if name in (".", "unified", "systemd", "memory", "pids", "cpu", "cpuacct", "blkio", "freezer", "devices"):
            found.append(_CGROUPS / name / path.strip("/") / f"luban-test-{os.getpid()}")
    return found


@contextlib.contextmanager
def machine(place: Path, shared: Path) -> Iterator[Machine]:
    """A machine that is up. `place` is an empty folder; `shared` is at `PLACE` on it."""
    for name in ("unshare", "nsenter", "ip", "pivot_root"):
        program(name)
    if os.getuid() != 0 or not Path("/lib/systemd/systemd").exists():
        pytest.skip("a machine of its own takes root and systemd")
    log, cgroups = place / "log", _own_cgroups()
    try:
        for one in cgroups:
            one.mkdir()
    except OSError as error:
        pytest.skip(f"cgroups cannot be made here: {error}")
    enter = "".join(f'echo $$ >"{one}/cgroup.procs"; ' for one in cgroups)
    unshare = "exec unshare --fork --kill-child --pid --mount --uts --ipc --net --cgroup --propagation private"
    with log.open("wb") as out:
        command = ["bash", "-c", f'{enter}{unshare} bash -c "$0" boot "$@"', _BOOT, str(place), str(shared)]
        outer = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
    try:
        yield _up(outer, log)
    finally:
        outer.send_signal(signal.SIGKILL)
        outer.wait(30)
        _remove(cgroups)


def _up(outer: subprocess.Popen[bytes], log: Path) -> Machine:
    deadline = time.monotonic() + BOOT_S
    state = ""
    while time.monotonic() < deadline and outer.poll() is None:
        children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text("ascii").split()
        if children:
            found = Machine(int(children[0]))
            state = found.run("systemctl", "is-system-running", check=False).stdout.strip()
            if state in ("running", "degraded"):
                return found
        time.sleep(0.2)
    said = log.read_text("utf-8", "replace")[-2000:]
    assert state not in ("initializing", "starting"), f"systemd is still {state} after {BOOT_S:.0f} s: {said}"
    pytest.skip(f"systemd does not come up in namespaces here ({state or 'no state'}): {said}")


def _remove(cgroups: list[Path]) -> None:
    deadline = time.monotonic() + 60
    for top in cgroups:
        while top.exists():
            for folder in sorted((path for path in top.rglob("*") if path.is_dir()), reverse=True):
                with contextlib.suppress(OSError):
                    folder.rmdir()
            try:
                top.rmdir()
            except OSError:
                assert time.monotonic() < deadline, f"{top} stays"
                time.sleep(0.1)
