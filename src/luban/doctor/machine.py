"""What the machine is: Python, cores, memory, disk, what its processor and accelerator can do.

Reads what the system says of itself, within the limits of a container. Of other systems than Linux it knows
less, and says so.
"""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path

from luban.doctor.finding import Finding
from luban.engine.cores import CGROUP, num_cores, quota

AREA = "machine"
GB = 1e9
LOW_MEMORY_GB = 2.0
LOW_DISK_GB = 2.0
_CGROUP = CGROUP


def machine(state: Path | None) -> Iterator[Finding]:
    """The machine; `state` is the folder whose disk counts, None where state is elsewhere."""
    yield _python()
    yield _cores()
    yield _memory()
    if state is not None:
        yield disk(state)
    yield from _processor()
    yield _accelerator()


def _python() -> Finding:
    text = f"{platform.python_implementation()} {platform.python_version()} on {platform.system()} {platform.machine()}"
    return Finding(AREA, "Python", "ok", text)


def _cores() -> Finding:
    usable, there, limit = num_cores(), os.cpu_count() or 1, quota(_CGROUP)
    text = f"{usable} of {there}"
    if limit is not None and limit < usable:
        mend = f"--set train.num_threads={max(round(limit), 1)}: more threads than that wait for each other"
        return Finding(AREA, "cores", "warn", f"{text}, of which this container may use {limit:g}", mend)
    return Finding(AREA, "cores", "ok", text)


def _memory() -> Finding:
    found = _meminfo()
    if found is None:
        return Finding(AREA, "memory", "warn", f"not known on {platform.system()}", "Look at the system's own monitor.")
    total, free = found
    text = f"{total / GB:.1f} GB, {free / GB:.1f} GB free"
    if free < LOW_MEMORY_GB * GB:
        return Finding(AREA, "memory", "warn", f"{text}; large files and neural models may not fit", "Close programs.")
    return Finding(AREA, "memory", "ok", text)


def _meminfo() -> tuple[float, float] | None:
    """Bytes of memory and of what is free, within the limits of a container; None where it is not known."""
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
        sizes = {name: float(size.split()[0]) * 1024 for name, size in (line.split(":", 1) for line in lines)}
        total, free = sizes["MemTotal"], sizes["MemAvailable"]
    except (OSError, ValueError, KeyError, IndexError):
        return None
    try:
        limit = float((_CGROUP / "memory.max").read_text("ascii"))
        used = float((_CGROUP / "memory.current").read_text("ascii"))
    except (OSError, ValueError):
        return total, free
    return min(total, limit), max(min(free, limit - used), 0.0)


def disk(state: Path) -> Finding:
    """Room where state is kept; its folder need not be there yet."""
    place = nearest_folder(state)
    try:
        found = shutil.disk_usage(place)
    except OSError as error:
        return Finding(AREA, "disk", "missing", f"`{place}` cannot be asked: {error.strerror}", "Name another folder.")
    text = f"{found.free / GB:.1f} GB free of {found.total / GB:.1f} GB at {place}"
    if found.free < LOW_DISK_GB * GB:
        return Finding(AREA, "disk", "warn", text, "Make room, or set LUBAN_STORE to a folder on another disk.")
    return Finding(AREA, "disk", "ok", text)


def nearest_folder(path: Path) -> Path:
    """The folder itself, or the nearest one above it that is there."""
    place = path.absolute()
    while not place.is_dir() and place != place.parent:
        place = place.parent
    return place


def flags() -> frozenset[str]:
    """What the processor says it can do; empty where the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return frozenset()
    found = (line.split(":", 1) for line in lines if ":" in line)
    return frozenset(
        word for name, words in found if name.strip() in ("flags", "Features") for word in words.lower().split()
    )


_CAN = (
    ("vectors", ("avx2", "asimd"), "AVX2", "NumPy, ONNX Runtime and PyTorch fall back to slower code"),
    ("int8", ("avx512_vnni", "avx_vnni", "avxvnni", "asimddp", "i8mm"), "VNNI", "int8 models gain little here"),
    ("bf16", ("avx512_bf16", "amx_bf16", "bf16"), "bf16", "bf16 is emulated, so training stays in fp32"),
)


def _processor() -> Iterator[Finding]:
    found = flags()
    if not found:
        yield Finding(AREA, "processor", "warn", f"{platform.machine()}; {platform.system()} does not tell more")
        return
    for name, any_of, shown, without in _CAN:
        has = sorted(found & set(any_of))
        if has:
            yield Finding(AREA, name, "ok", ", ".join(has))
        else:
            yield Finding(AREA, name, "warn" if name == "vectors" else "ok", f"no {shown}: {without}")


def _accelerator() -> Finding:
    import importlib.util

    if importlib.util.find_spec("torch") is None:
        return Finding(AREA, "accelerator", "ok", "not looked for: PyTorch, which would use one, is not installed")
    import torch

    if torch.cuda.is_available():
        about = torch.cuda.get_device_properties(0)
        text = f"{torch.cuda.device_count()} × {about.name}, {about.total_memory / GB:.0f} GB"
        return Finding(AREA, "accelerator", "ok", text)
    if getattr(torch.backends, "mps", None) is not None and torch.backends.mps.is_available():
        return Finding(AREA, "accelerator", "ok", "Apple GPU; not used in this version")
    return Finding(
        AREA, "accelerator", "ok", f"none that PyTorch {torch.__version__} can use; models train on the cores"
    )
