"""Prints the lowest version that pyproject.toml allows of every direct dependency, as pip constraints.

PyTorch stays at the version that was tried (constraints.txt): older builds for the CPU alone are not in every index.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

EXTRAS = ("train", "neural", "tune")
TRIED = "torch"


def lowest(project: Path) -> list[str]:
    """`name==version` for every dependency of the core and of the extras that train."""
    found = tomllib.loads((project / "pyproject.toml").read_text("utf-8"))["project"]
    lines = [*found["dependencies"], *(line for extra in EXTRAS for line in found["optional-dependencies"][extra])]
    bounds = [re.match(r"([A-Za-z0-9_.-]+)\s*>=\s*([0-9.]+)", line) for line in lines]
    assert all(bounds), "every direct dependency states a lower bound"
    stated = {match[1]: match[2] for match in bounds if match}
    pinned = dict(line.split("==") for line in (project / "constraints.txt").read_text("utf-8").split() if "==" in line)
    return [f"{name}=={version}" for name, version in {**stated, TRIED: pinned[TRIED]}.items()]


if __name__ == "__main__":
    print("\n".join(lowest(Path(__file__).parent.parent)))
