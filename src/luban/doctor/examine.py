"""All that `luban doctor` looks at, in the order in which it is shown."""

from __future__ import annotations

from pathlib import Path

from luban.doctor.finding import Finding
from luban.doctor.installed import installed
from luban.doctor.machine import machine
from luban.doctor.plans import plans, state_folder
from luban.doctor.project import project


def examine(path: Path | None = None) -> list[Finding]:
    """Everything about this machine, and about the project at `path`, if one is named."""
    needs: list[Finding] = []
    folder, num_threads = Path(), None
    if path is not None:
        folder = path if path.is_dir() else path.parent
        found, needs = project(path)
        num_threads = found.train.num_threads if found is not None else None
    return [*needs, *machine(state_folder(folder)), *installed(), *plans(folder, num_threads, path is not None)]
