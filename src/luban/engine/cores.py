"""How many processor cores this process may use: what it may run on, and what a container's quota leaves of them."""

from __future__ import annotations

import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def num_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def quota(cgroup: Path = CGROUP) -> float | None:
    """Cores' worth of time that a container may use (`cpu.max` of cgroup v2), or None where nothing limits it."""
    try:
        limit, period = (cgroup / "cpu.max").read_text("ascii").split()
        return None if limit == "max" else int(limit) / int(period)
    except (OSError, ValueError):
        return None


def usable_cores(cgroup: Path = CGROUP) -> int:
    """Cores that are worth a thread each: at least 1."""
    limit = quota(cgroup)
    return num_cores() if limit is None else max(1, min(num_cores(), round(limit)))
