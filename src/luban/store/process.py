"""Who a process is, and whether it still lives: what leases and runs are signed with.

A signature is `host:pid:start:random`. `start` is boot, process namespace and start time, read from
/proc where there is one, so that a number used again, another container or a restarted machine is
not taken for the process that signed. Decided here: "dead" is said only of a process that this
machine can see for certain; everything else is unknown, and left to the lease's time.
"""

from __future__ import annotations

import functools
import os
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path

_GONE = ("Z", "X", "x")  # zombie and dead: it will never write again


@dataclass(frozen=True)
class Signature:
    """The parts of `host:pid:start:random`."""

    host: str
    pid: int
    start: str
    nonce: str

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}:{self.start}:{self.nonce}"

    @classmethod
    def parse(cls, text: str) -> Signature:
        """The signature that `text` states. Raises ValueError if it is none."""
        host, pid, start, nonce = text.rsplit(":", 3)
        return cls(host, int(pid), start, nonce)

    @property
    def place(self) -> str:
        """Boot and process namespace: within one place, process numbers mean the same."""
        return self.start.rpartition(".")[0]


def sign() -> Signature:
    """A new signature of this process; each call has another random part."""
    pid = os.getpid()
    return Signature(socket.gethostname(), pid, f"{_place()}.{_start(pid) or ''}", secrets.token_hex(4))


def is_dead(signature: str) -> bool:
    """True if the process that signed is certainly gone; False if it lives or cannot be seen from here."""
    try:
        signed = Signature.parse(signature)
    except ValueError:
        return False
    if signed.host != socket.gethostname() or signed.place != _place():
        return False
    started = _start(signed.pid)
    if started is not None:
        return f"{signed.place}.{started}" != signed.start
    return not _answers(signed.pid)


def was_rebooted(signature: str) -> bool:
    """True if a machine of this name has started anew since: good enough to show a run as interrupted."""
    try:
        signed = Signature.parse(signature)
    except ValueError:
        return False
    mine = _place()
    same_boot = signed.place.partition("/")[0] == mine.partition("/")[0]
    return bool(mine) and signed.host == socket.gethostname() and not same_boot


def describe(signature: str) -> str:
    """For messages: `process 12 on myhost`."""
    try:
        signed = Signature.parse(signature)
    except ValueError:
        return signature
    return f"process {signed.pid} on {signed.host}"


@functools.cache
def _place() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        return f"{boot}/{os.stat('/proc/self/ns/pid').st_ino}"  # noqa: PTH116 - a magic link
    except OSError:
        return ""  # no /proc: numbers are all there is


def _start(pid: int) -> str | None:
    """Start time in clock ticks since boot; "gone" for a zombie; None if it cannot be read."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text("utf-8", errors="replace")
    except OSError:
        return None
    state, *rest = text.rpartition(")")[2].split()
    return "gone" if state in _GONE else rest[18]


def _answers(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # it is there, and another user's
    return True
